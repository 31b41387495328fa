import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Kafka's own transactional producers, as standard input says, a step a line:
 *   init ID | begin ID | send ID TOPIC PARTITION VALUE | flush ID | commit ID | abort ID | plain TOPIC PARTITION VALUE
 * ID is a transactional id; plain is a record outside of transactions. What is open at the end stays open.
 */
public class Transactions {
  static Properties config(String bootstrap, String id) {
    Properties config = new Properties();
    config.put("bootstrap.servers", bootstrap);
    config.put("linger.ms", "0");
    // A lone record is a batch of its own, so that a fetch can begin and end within a transaction.
    config.put("batch.size", "200");
    if (id != null) config.put("transactional.id", id);
    return config;
  }

  static ProducerRecord<String, String> record(String topic, String partition, String value) {
    return new ProducerRecord<>(topic, Integer.parseInt(partition), null, value);
  }

  public static void main(String[] args) throws Exception {
    Map<String, KafkaProducer<String, String>> producers = new HashMap<>();
    var strings = new StringSerializer();
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = input.readLine()) != null; ) {
      String[] words = line.split(" ");
      String id = words[0].equals("plain") ? null : words[1];
      var producer = producers.computeIfAbsent(
          id == null ? "" : id, key -> new KafkaProducer<>(config(args[0], id), strings, strings));
      switch (words[0]) {
        case "init" -> producer.initTransactions();
        case "begin" -> producer.beginTransaction();
        case "send" -> producer.send(record(words[2], words[3], words[4]));
        case "flush" -> producer.flush();
        case "commit" -> producer.commitTransaction();
        case "abort" -> producer.abortTransaction();
        case "plain" -> producer.send(record(words[1], words[2], words[3])).get();
        default -> throw new IllegalArgumentException(line);
      }
    }
    System.out.println("done");
    System.out.flush();
    // Not closed: closing a producer ends its transaction.
    Runtime.getRuntime().halt(0);
  }
}
