import java.io.IOException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.prismasuite.client.Codes;
import org.prismasuite.client.NewDocument;
import org.prismasuite.client.PrismaClient;
import org.prismasuite.client.PrismaException;
import org.prismasuite.client.Vectors;
import org.prismasuite.common.v1.RowRange;
import org.prismasuite.embedder.v1.CreateDatasetRequest;
import org.prismasuite.embedder.v1.Dataset;
import org.prismasuite.embedder.v1.EmbedDatasetRequest;
import org.prismasuite.embedder.v1.GetDatasetRequest;
import org.prismasuite.embedder.v1.ReadVectorsRequest;
import org.prismasuite.interpreter.v1.ComputeStatisticsRequest;
import org.prismasuite.interpreter.v1.Feature;
import org.prismasuite.interpreter.v1.LabelFeaturesRequest;
import org.prismasuite.interpreter.v1.ListFeaturesRequest;
import org.prismasuite.search.v1.SearchDocumentsRequest;
import org.prismasuite.search.v1.SearchDocumentsRequest.Mode;
import org.prismasuite.trainer.v1.Config;
import org.prismasuite.trainer.v1.CreateRunRequest;
import org.prismasuite.trainer.v1.GetRunRequest;
import org.prismasuite.trainer.v1.ReadCodesRequest;
import org.prismasuite.trainer.v1.Run;
import org.prismasuite.trainer.v1.TrainRunRequest;

/**
 * The main job: import texts, embed them, train a run, name its features, search. Prints a table.
 *
 * <p>The argument is the id of the dataset. PRISMA_ADDRESS is the gateway, 127.0.0.1:50050 by default; PRISMA_API_KEY and
 * PRISMA_TLS_AUTHORITY are optional.
 */
public final class MainJob {
  private static final List<String> SUBJECTS =
      List.of(
          "The ferry to the island",
          "The tunnel below the city",
          "The choir of the cathedral",
          "The recipe for rye bread",
          "The orbit of the comet",
          "The court of appeal",
          "The vaccine against measles",
          "The final of the cup",
          "The price of copper",
          "The song of the whales");
  private static final List<String> PREDICATES =
      List.of(
          "was late because of fog",
          "is described in an old book",
          "was discussed on the radio",
          "has changed since spring",
          "surprised the experts",
          "is older than the town",
          "costs more than before",
          "was explained to children",
          "attracts many visitors",
          "is shown on a stamp",
          "was measured again",
          "had to be postponed",
          "appears in a poem",
          "is a matter of dispute",
          "was filmed at night",
          "was studied by students",
          "caused a long debate",
          "ended in the rain",
          "is known abroad",
          "was praised by a critic");

  private final PrismaClient client;

  private MainJob(PrismaClient client) {
    this.client = client;
  }

  public static void main(String[] arguments) throws IOException, InterruptedException {
    Map<String, String> environment = System.getenv();
    PrismaClient.Options options = PrismaClient.Options.DEFAULT.withApiKey(environment.get("PRISMA_API_KEY"));
    if (environment.containsKey("PRISMA_TLS_AUTHORITY")) {
      options = options.withTlsAuthority(Path.of(environment.get("PRISMA_TLS_AUTHORITY")));
    }
    String address = environment.getOrDefault("PRISMA_ADDRESS", "127.0.0.1:50050");
    try (PrismaClient client = PrismaClient.connect(address, options)) {
      new MainJob(client).run(arguments.length > 0 ? arguments[0] : "clients-java");
    }
  }

  private static Stream<NewDocument> documents() {
    return IntStream.range(0, SUBJECTS.size()).boxed().flatMap(topic -> IntStream.range(0, PREDICATES.size())
        .mapToObj(number -> new NewDocument(
            "%d-%02d".formatted(topic, number),
            SUBJECTS.get(topic) + " " + PREDICATES.get(number) + ".",
            Map.of("topic", topic))));
  }

  private void run(String id) throws InterruptedException {
    var creation = CreateDatasetRequest.newBuilder().setDatasetId(id);
    creation.setDataset(Dataset.newBuilder().setDisplayName("Clients"));
    String dataset = client.embedder().createDataset(creation.build()).getName();
    var imported = client.importDocuments(dataset, documents().iterator());
    row("imported", "%d, %d rejected".formatted(imported.getImportedCount(), imported.getRejectedCount()));
    client.await(client.embedder().embedDataset(EmbedDatasetRequest.newBuilder().setName(dataset).build()));
    Dataset embedded = client.embedder().getDataset(GetDatasetRequest.newBuilder().setName(dataset).build());
    row("embedded", "%d, %d numbers each".formatted(embedded.getEmbeddedCount(), embedded.getDimension()));
    String run = train(dataset, id);
    showFeatures(run);
    showFirstRow(dataset, run);
    search(dataset, run);
    try {
      client.trainer().getRun(GetRunRequest.newBuilder().setName("runs/none").build());
    } catch (RuntimeException failure) {
      PrismaException error = PrismaException.of(failure);
      row("error", error.reason() + ", run=" + error.metadata().get("run"));
    }
  }

  private String train(String dataset, String id) throws InterruptedException {
    Config.Builder config = Config.newBuilder().setExpansion(1).setK(8).setSiblings(0).setThreads(1);
    var creation = CreateRunRequest.newBuilder().setRunId(id);
    creation.setRun(Run.newBuilder().setDataset(dataset).setConfig(config));
    String name = client.trainer().createRun(creation.build()).getName();
    client.await(client.trainer().trainRun(TrainRunRequest.newBuilder().setName(name).build()));
    Run run = client.trainer().getRun(GetRunRequest.newBuilder().setName(name).build());
    row("trained", "%d latents, %d active".formatted(run.getLatentCount(), run.getConfig().getK()));
    var statistics = ComputeStatisticsRequest.newBuilder().setRun(name).build();
    client.await(client.interpreter().computeStatistics(statistics));
    client.await(client.interpreter().labelFeatures(LabelFeaturesRequest.newBuilder().setRun(name).build()));
    return name;
  }

  private void showFeatures(String run) {
    int pages = 0;
    List<Feature> features = new ArrayList<>();
    var request = ListFeaturesRequest.newBuilder().setParent(run).setPageSize(100).setOrderBy("index").build();
    for (var page : PrismaClient.pages(client.interpreter()::listFeatures, request)) {
      pages++;
      features.addAll(page.getFeaturesList());
    }
    row("features", features.size() + " in " + pages + " pages");
    features.stream().filter(feature -> !feature.getLabel().getText().isEmpty()).limit(5).forEach(feature ->
        row("", feature.getIndex() + " " + number(feature.getMaxActivation()) + " " + feature.getLabel().getText()));
  }

  private void showFirstRow(String dataset, String run) {
    RowRange first = RowRange.newBuilder().setStart(0).setEnd(1).build();
    var vectorRequest = ReadVectorsRequest.newBuilder().setDataset(dataset).addRowRanges(first).build();
    client.embedder().readVectors(vectorRequest).forEachRemaining(block -> {
      float[] vector = Vectors.of(block.getVectors()).vector(0);
      row("vector", Stream.of(0, 1, 2, 3).map(place -> number(vector[place])).collect(Collectors.joining(" ")) + " ...");
    });
    var codeRequest = ReadCodesRequest.newBuilder().setRun(run).addRowRanges(first).build();
    client.trainer().readCodes(codeRequest).forEachRemaining(block -> {
      Codes codes = Codes.of(block.getCodes());
      int[] latents = codes.latents(0);
      float[] activations = codes.activations(0);
      row("code", IntStream.range(0, latents.length)
          .mapToObj(place -> latents[place] + ":" + number(activations[place]))
          .collect(Collectors.joining(" ")));
    });
  }

  private void search(String dataset, String run) throws InterruptedException {
    client.awaitIndex(dataset, dataset, "documents", "vectors");
    client.awaitIndex(dataset, run, "codes", "labels");
    for (Mode mode : List.of(Mode.MODE_FULL_TEXT, Mode.MODE_SEMANTIC, Mode.MODE_SPARSE, Mode.MODE_HYBRID)) {
      var request = SearchDocumentsRequest.newBuilder()
          .setParent(dataset).setQuery("fog on the way to the island").setMode(mode).setRun(run).setPageSize(3);
      String hits = client.search().searchDocuments(request.build()).getHitsList().stream()
          .map(hit -> hit.getKey() + " " + number(hit.getScore()))
          .collect(Collectors.joining(", "));
      row(mode.name().substring("MODE_".length()).toLowerCase(), hits);
    }
  }

  /** Four decimals of the exact value, as C writes them. */
  private static String number(double value) {
    return new BigDecimal(value).setScale(4, RoundingMode.HALF_EVEN).toPlainString();
  }

  private static void row(String name, String text) {
    System.out.println("%-10s %s".formatted(name, text).strip());
  }
}
