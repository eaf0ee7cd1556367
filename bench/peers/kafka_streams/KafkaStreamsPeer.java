import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.LongAdder;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The jobs in Kafka Streams' DSL: windows of a minute with a grace of 10 s, their updates to a topic.
 *
 * <p>Orders are grouped by country, which sends them through a repartition topic. Lines on the standard output say when
 * the work began and ended, and how many records Kafka Streams says it dropped.
 */
public final class KafkaStreamsPeer {
    private static final int HEADER_BYTES = 5;
    private static final Duration MINUTE = Duration.ofMinutes(1);
    private static final Duration GRACE = Duration.ofSeconds(10);
    private static final long QUIET_NANOS = 2_000_000_000L;

    private static final AtomicBoolean BEGUN = new AtomicBoolean();
    private static final LongAdder DECODED = new LongAdder();
    private static final LongAdder FOLDED = new LongAdder();

    /** An event: its time, its group and its amount or reading as a scaled integer. */
    private record Event(long at, String group, long value) {}

    /** What is known of a window and a group. */
    private record Totals(long count, long sum, long least, long most) {
        static final Totals NONE = new Totals(0, 0, Long.MAX_VALUE, Long.MIN_VALUE);

        Totals with(long value) {
            FOLDED.increment();
            return new Totals(count + 1, sum + value, Math.min(least, value), Math.max(most, value));
        }
    }

    private KafkaStreamsPeer() {}

    public static void main(String[] arguments) throws Exception {
        String job = told("JOB");
        StreamsBuilder builder = new StreamsBuilder();
        topology(builder, job, new EventDeserializer(job));
        try (KafkaStreams streams = new KafkaStreams(builder.build(), configuration())) {
            streams.start();
            long last = await(Long.parseLong(told("RECORDS")));
            double dropped = dropped(streams);
            long closing = System.nanoTime();
            if (!streams.close(Duration.ofMinutes(1))) {
                throw new IllegalStateException("it did not close within a minute");
            }
            // The wait until nothing more came is idle; the caches that are flushed by the close are work.
            say("end", String.format(Locale.ROOT, ", \"idle_s\": %.3f", (closing - last) / 1e9));
            say("told", String.format(Locale.ROOT, ", \"dropped\": %.0f", dropped));
        }
    }

    private static void topology(StreamsBuilder builder, String job, Deserializer<Event> events) {
        Serde<Event> source = Serdes.serdeFrom(new NoSerializer<>(), events);
        KStream<String, Event> stream = builder.stream(
                told("TOPIC"),
                Consumed.with(Serdes.String(), source).withTimestampExtractor(KafkaStreamsPeer::eventTime));
        KStream<String, Event> real = stream.filter((key, event) -> event != null);
        KGroupedStream<String, Long> grouped = job.equals("orders")
                ? real.map((key, event) -> KeyValue.pair(event.group(), event.value()))
                        .groupByKey(Grouped.with(Serdes.String(), Serdes.Long()))
                : real.mapValues(Event::value).groupByKey(Grouped.with(Serdes.String(), Serdes.Long()));
        grouped.windowedBy(TimeWindows.ofSizeAndGrace(MINUTE, GRACE))
                .aggregate(
                        () -> Totals.NONE,
                        (key, value, totals) -> totals.with(value),
                        Materialized.<String, Totals, WindowStore<Bytes, byte[]>>as("windows")
                                .withKeySerde(Serdes.String())
                                .withValueSerde(Serdes.serdeFrom(KafkaStreamsPeer::packed, KafkaStreamsPeer::unpacked)))
                .toStream((window, totals) -> window.key() + "@" + window.window().start())
                .mapValues((key, totals) -> row(key, totals))
                .to(told("OUT"), Produced.with(Serdes.String(), Serdes.String()));
    }

    private static Properties configuration() {
        Properties chosen = new Properties();
        chosen.put(StreamsConfig.APPLICATION_ID_CONFIG, told("GROUP"));
        chosen.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, told("BROKER"));
        chosen.put(StreamsConfig.STATE_DIR_CONFIG, told("FOLDER"));
        chosen.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Runtime.getRuntime().availableProcessors());
        chosen.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64 * 1024 * 1024);
        chosen.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        return chosen;
    }

    /** Waits until all records are read and no more events are folded; returns when that last changed. */
    private static long await(long records) throws InterruptedException {
        long last = System.nanoTime();
        long before = -1;
        while (DECODED.sum() < records || System.nanoTime() - last < QUIET_NANOS) {
            Thread.sleep(20);
            long now = DECODED.sum() + FOLDED.sum();
            if (now != before) {
                before = now;
                last = System.nanoTime();
            }
        }
        return last;
    }

    private static double dropped(KafkaStreams streams) {
        return streams.metrics().values().stream()
                .filter(metric -> metric.metricName().name().equals("dropped-records-total"))
                .mapToDouble(metric -> (Double) metric.metricValue())
                .sum();
    }

    private static long eventTime(ConsumerRecord<Object, Object> record, long partitionTime) {
        return record.value() instanceof Event event ? event.at() : Math.max(partitionTime, 0);
    }

    private static String row(String key, Totals totals) {
        int at = key.lastIndexOf('@');
        return String.format(
                Locale.ROOT,
                "{\"pane\": %s, \"key\": \"%s\", \"count\": %d, \"sum\": %d, \"min\": %d, \"max\": %d}",
                key.substring(at + 1), key.substring(0, at),
                totals.count(), totals.sum(), totals.least(), totals.most());
    }

    private static byte[] packed(String topic, Totals totals) {
        return totals == null ? null : ByteBuffer.allocate(32)
                .putLong(totals.count()).putLong(totals.sum()).putLong(totals.least()).putLong(totals.most()).array();
    }

    private static Totals unpacked(String topic, byte[] bytes) {
        if (bytes == null) {
            return null;
        }
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        return new Totals(buffer.getLong(), buffer.getLong(), buffer.getLong(), buffer.getLong());
    }

    private static String told(String name) {
        String value = System.getenv("PEER_" + name);
        if (value == null) {
            throw new IllegalStateException("PEER_" + name + " is not set");
        }
        return value;
    }

    private static void say(String event, String more) {
        System.out.printf("{\"event\": \"%s\", \"timestamp\": \"%s\"%s}%n", event, Instant.now(), more);
        System.out.flush();
    }

    /** Reads an event behind Confluent's header, with the fields that the job needs; null for a heartbeat. */
    private static final class EventDeserializer implements Deserializer<Event> {
        private final int schemaId = Integer.parseInt(told("SCHEMA_ID"));
        private final boolean orders;
        private final GenericDatumReader<GenericRecord> reader;
        private final ThreadLocal<BinaryDecoder> decoders = new ThreadLocal<>();

        EventDeserializer(String job) throws IOException {
            orders = job.equals("orders");
            Schema writer = new Schema.Parser().parse(Path.of(told("SCHEMA")).toFile());
            List<String> needed = orders
                    ? List.of("occurred_at", "country", "amount")
                    : List.of("occurred_at", "device_id", "value");
            List<Schema.Field> fields = new ArrayList<>();
            needed.forEach(name -> fields.add(new Schema.Field(name, writer.getField(name).schema())));
            Schema projected = Schema.createRecord(writer.getName(), null, writer.getNamespace(), false, fields);
            reader = new GenericDatumReader<>(writer, projected);
        }

        @Override
        public Event deserialize(String topic, byte[] bytes) {
            if (BEGUN.compareAndSet(false, true)) {
                say("begin", "");
            }
            DECODED.increment();
            if (bytes == null || ByteBuffer.wrap(bytes).getInt(1) != schemaId) {
                return null;
            }
            BinaryDecoder decoder = DecoderFactory.get()
                    .binaryDecoder(bytes, HEADER_BYTES, bytes.length - HEADER_BYTES, decoders.get());
            decoders.set(decoder);
            try {
                return event(reader.read(null, decoder));
            } catch (IOException error) {
                throw new SerializationException(error);
            }
        }

        private Event event(GenericRecord record) {
            long at = (Long) record.get(0);
            String group = record.get(1).toString();
            if (orders) {
                return new Event(at, group, unscaled((ByteBuffer) record.get(2)));
            }
            return new Event(at, group, Math.round((Double) record.get(2) * 1e6));
        }

        private static long unscaled(ByteBuffer amount) {
            byte[] bytes = new byte[amount.remaining()];
            amount.duplicate().get(bytes);
            return new BigInteger(bytes).longValueExact();
        }
    }

    /** Source topics are not written. */
    private static final class NoSerializer<T> implements Serializer<T> {
        @Override
        public byte[] serialize(String topic, T value) {
            throw new UnsupportedOperationException("the source is only read");
        }
    }
}
