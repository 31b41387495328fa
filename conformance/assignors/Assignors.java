import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.*;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.*;

/**
 * Kafka's own assignors on the cases of a file. A case is lines of words, without subscriptions that Kafka
 * would not write itself:
 *   CASE strategy | TOPIC name count | MEMBER id instance-or-dash subscription-in-hex | END
 * For each member the answer says the subscription as Kafka writes it again, the assignment, and what the
 * assignor says as user data after it was given that assignment in generation 7 ("-" for none):
 *   MEMBER id subscription assignment user-data | END
 */
public class Assignors {
  static final HexFormat HEX = HexFormat.of();

  static ConsumerPartitionAssignor assignor(String name) {
    return switch (name) {
      case "range" -> new RangeAssignor();
      case "roundrobin" -> new RoundRobinAssignor();
      case "sticky" -> new StickyAssignor();
      case "cooperative-sticky" -> new CooperativeStickyAssignor();
      default -> throw new IllegalArgumentException(name);
    };
  }

  static String hex(ByteBuffer bytes) {
    if (bytes == null) return "-";
    byte[] copy = new byte[bytes.remaining()];
    bytes.duplicate().get(copy);
    return copy.length == 0 ? "-" : HEX.formatHex(copy);
  }

  static ByteBuffer bytes(String hex) {
    return ByteBuffer.wrap(HEX.parseHex(hex));
  }

  public static void main(String[] args) throws Exception {
    StringBuilder out = new StringBuilder();
    String strategy = null;
    List<PartitionInfo> partitions = new ArrayList<>();
    Map<String, Subscription> members = new HashMap<>();
    Map<String, String> again = new HashMap<>();
    Node node = new Node(0, "h", 1);
    for (String line : Files.readAllLines(Path.of(args[0]))) {
      String[] word = line.split(" ");
      switch (word[0]) {
        case "CASE" -> {
          strategy = word[1];
          partitions.clear();
          members.clear();
          again.clear();
        }
        case "TOPIC" -> {
          for (int i = 0; i < Integer.parseInt(word[2]); i++) {
            partitions.add(new PartitionInfo(word[1], i, node, new Node[] {node}, new Node[] {node}));
          }
        }
        case "MEMBER" -> {
          Subscription subscription = ConsumerProtocol.deserializeSubscription(bytes(word[3]));
          again.put(word[1], hex(ConsumerProtocol.serializeSubscription(subscription)));
          if (!word[2].equals("-")) subscription.setGroupInstanceId(Optional.of(word[2]));
          members.put(word[1], subscription);
        }
        case "END" -> {
          Cluster cluster = new Cluster("c", List.of(node), partitions, Set.of(), Set.of());
          Map<String, Assignment> shared =
              assignor(strategy).assign(cluster, new GroupSubscription(members)).groupAssignment();
          for (String id : members.keySet()) {
            Assignment share = shared.get(id);
            ConsumerPartitionAssignor fresh = assignor(strategy);
            fresh.onAssignment(share, new ConsumerGroupMetadata("g", 7, id, Optional.empty()));
            ByteBuffer userData = fresh.subscriptionUserData(Set.copyOf(members.get(id).topics()));
            out.append("MEMBER ").append(id).append(' ').append(again.get(id)).append(' ');
            out.append(hex(ConsumerProtocol.serializeAssignment(share))).append(' ');
            out.append(hex(userData)).append('\n');
          }
          out.append("END\n");
        }
        default -> throw new IllegalArgumentException(line);
      }
    }
    System.out.print(out);
  }
}
