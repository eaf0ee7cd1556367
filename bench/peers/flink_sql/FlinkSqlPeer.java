import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.api.common.JobExecutionResult;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/**
 * Runs a SQL file on a Flink of its own: SET and CREATE statements, then one INSERT, whose job it waits for.
 *
 * <p>{@code ${NAME}} in the file stands for the environment's PEER_NAME. Lines on the standard output say when all
 * its tasks ran, which Flink's REST interface tells, and when it ended.
 */
public final class FlinkSqlPeer {
    private static final Pattern SET = Pattern.compile("SET\\s+'([^']+)'\\s*=\\s*'([^']*)'");
    private static final Pattern STATUS = Pattern.compile("\"status\":\"(\\w+)\"");
    private static final Pattern VARIABLE = Pattern.compile("\\$\\{(\\w+)}");

    private FlinkSqlPeer() {}

    public static void main(String[] arguments) throws Exception {
        String text = VARIABLE.matcher(Files.readString(Path.of(arguments[0])))
                .replaceAll(found -> Matcher.quoteReplacement(told(found.group(1))));
        Configuration configuration = new Configuration();
        TableEnvironment environment = null;
        for (String statement : text.replaceAll("(?m)^\\s*--.*$", "").split(";")) {
            String sql = statement.strip();
            Matcher setting = SET.matcher(sql);
            if (setting.matches()) {
                configuration.setString(setting.group(1), setting.group(2));
                continue;
            }
            if (sql.isEmpty()) {
                continue;
            }
            if (environment == null) {
                environment = TableEnvironment.create(EnvironmentSettings.newInstance()
                        .inStreamingMode().withConfiguration(configuration).build());
            }
            TableResult result = environment.executeSql(sql);
            if (result.getJobClient().isPresent()) {
                await(result, result.getJobClient().get());
            }
        }
        System.exit(0);
    }

    private static void await(TableResult result, JobClient job) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        URI uri = URI.create("http://127.0.0.1:" + told("REST_PORT") + "/jobs/" + job.getJobID());
        CompletableFuture<JobExecutionResult> done = job.getJobExecutionResult();
        while (!running(client, uri)) {
            if (done.isDone()) {
                done.join();
                throw new IllegalStateException("the job ended before all its tasks were seen to run: too few events");
            }
            Thread.sleep(10);
        }
        say("begin");
        result.await();
        say("end");
    }

    /** Whether all tasks run: each is set up, and none has ended. Nobody answers once the cluster is gone. */
    private static boolean running(HttpClient client, URI uri) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(uri).build();
        Matcher status;
        try {
            status = STATUS.matcher(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
        } catch (ConnectException gone) {
            return false;
        }
        boolean any = false;
        while (status.find()) {
            any = true;
            if (!status.group(1).equals("RUNNING")) {
                return false;
            }
        }
        return any;
    }

    private static String told(String name) {
        String value = System.getenv("PEER_" + name);
        if (value == null) {
            throw new IllegalStateException("PEER_" + name + " is not set");
        }
        return value;
    }

    private static void say(String event) {
        System.out.printf("{\"event\": \"%s\", \"timestamp\": \"%s\"}%n", event, Instant.now());
        System.out.flush();
    }
}
