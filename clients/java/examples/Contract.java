import com.google.gson.Gson;
import com.google.protobuf.util.Timestamps;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.prismasuite.client.Codes;
import org.prismasuite.client.NewDocument;
import org.prismasuite.client.PrismaClient;
import org.prismasuite.client.PrismaException;
import org.prismasuite.client.Vectors;
import org.prismasuite.common.v1.CodeBlock;
import org.prismasuite.common.v1.Job;
import org.prismasuite.common.v1.VectorBlock;
import org.prismasuite.embedder.v1.CreateDatasetRequest;
import org.prismasuite.embedder.v1.Document;
import org.prismasuite.embedder.v1.GetDatasetRequest;
import org.prismasuite.embedder.v1.GetDocumentRequest;
import org.prismasuite.embedder.v1.ListDocumentsRequest;

/**
 * Shows as JSON what this client makes of golden messages and of a server that breaks calls off. The tests compare it with
 * what the other clients show. Arguments: the folder of golden messages, the address of the server.
 */
public final class Contract {
  private Contract() {}

  public static void main(String[] arguments) throws IOException, InterruptedException {
    var dataset = GetDatasetRequest.newBuilder().setName("datasets/d").build();
    var twice = CreateDatasetRequest.newBuilder().setDatasetId("twice").build();
    var large = GetDocumentRequest.newBuilder().setName("datasets/d/documents/large").build();
    try (PrismaClient client = connect(arguments[1], System.getenv("PRISMA_API_KEY"));
        PrismaClient stranger = connect(arguments[1], "a wrong key")) {
      Map<String, Object> shown = new LinkedHashMap<>();
      shown.put("golden", golden(Path.of(arguments[0])));
      shown.put("refused", failure(() -> stranger.embedder().getDataset(dataset)).reason());
      shown.put("job", watched(client, "jobs/broken"));
      shown.put("failure", watched(client, "jobs/failing"));
      shown.put("pages", keysOfPages(client));
      shown.put("imported", imported(client));
      shown.put("retried", client.embedder().getDataset(dataset).getDisplayName());
      shown.put("not_repeated", failure(() -> client.embedder().createDataset(twice)).code().value());
      shown.put("large", client.embedder().getDocument(large).getText().length());
      System.out.print(new Gson().toJson(shown));
    }
  }

  private static PrismaClient connect(String address, String key) throws IOException {
    Path authority = Path.of(System.getenv("PRISMA_TLS_AUTHORITY"));
    return PrismaClient.connect(address, PrismaClient.Options.DEFAULT.withTlsAuthority(authority).withApiKey(key));
  }

  private static Map<String, Object> golden(Path folder) throws IOException {
    Codes codes = Codes.of(CodeBlock.parseFrom(read(folder, "codes")));
    PrismaException error = PrismaException.of(com.google.rpc.Status.parseFrom(read(folder, "error")));
    Job job = Job.parseFrom(read(folder, "job"));
    return Map.of(
        "vectors-float32", vectors(read(folder, "vectors-float32")),
        "vectors-float16", vectors(read(folder, "vectors-float16")),
        "codes", Map.of(
            "rows", codes.rows(), "indptr", codes.indptr(), "indices", codes.indices(),
            "values", numbers(codes.values()), "latent_count", codes.latentCount()),
        "error", Map.of(
            "code", error.code().value(), "reason", error.reason(), "message", error.getMessage(),
            "metadata", error.metadata(), "retry_seconds", error.retryDelay().toMillis() / 1e3,
            "fields", error.violations().stream().map(violation -> violation.getField()).toList()),
        "job", Map.of(
            "name", job.getName(), "kind", job.getKind(), "state", state(job), "resources", job.getResourcesList(),
            "done", job.getProgress().getDone(), "total", job.getProgress().getTotal(),
            "unit", job.getProgress().getUnit(), "rate", job.getProgress().getRate(),
            "attempt", job.getAttempt(), "created", Timestamps.toMillis(job.getCreateTime())));
  }

  private static byte[] read(Path folder, String name) throws IOException {
    return Files.readAllBytes(folder.resolve(name + ".binpb"));
  }

  private static Map<String, Object> vectors(byte[] data) throws IOException {
    Vectors vectors = Vectors.of(VectorBlock.parseFrom(data));
    return Map.of(
        "rows", vectors.rows(), "dimension", vectors.dimension(), "values", numbers(vectors.values()));
  }

  /** As doubles; JSON has no infinity. */
  private static List<Object> numbers(float[] values) {
    List<Object> numbers = new ArrayList<>();
    for (float value : values) {
      numbers.add(Float.isInfinite(value) ? (Object) "infinity" : (Object) (double) value);
    }
    return numbers;
  }

  private static String state(Job job) {
    return job.getState().name().substring("STATE_".length());
  }

  /** The states that a job went through, and the reason why it failed. */
  private static List<String> watched(PrismaClient client, String name) throws InterruptedException {
    List<String> states = new ArrayList<>();
    try {
      client.await(Job.newBuilder().setName(name).build(), job -> states.add(state(job)));
    } catch (PrismaException error) {
      if (error.job() == null) {
        throw error;
      }
      states.add(error.reason());
    }
    return states;
  }

  private static List<List<String>> keysOfPages(PrismaClient client) {
    List<List<String>> keys = new ArrayList<>();
    var request = ListDocumentsRequest.newBuilder().setParent("datasets/d").setPageSize(2).build();
    for (var page : PrismaClient.pages(client.embedder()::listDocuments, request)) {
      keys.add(page.getDocumentsList().stream().map(Document::getKey).toList());
    }
    return keys;
  }

  /** The number of documents that the server counts in an import of several chunks. */
  private static long imported(PrismaClient client) throws InterruptedException {
    String text = "é".repeat(1 << 18);
    var documents = IntStream.rangeClosed(1, 5).mapToObj(id -> new NewDocument(String.valueOf(id), text)).iterator();
    return client.importDocuments("datasets/d", documents).getImportedCount();
  }

  private static PrismaException failure(Runnable call) {
    try {
      call.run();
    } catch (RuntimeException error) {
      return PrismaException.of(error);
    }
    throw new IllegalStateException("the call should have failed");
  }
}
