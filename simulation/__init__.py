"""The real rules on an in-memory Kafka, in any order of steps that a seed can bring, judged by a naive oracle."""
