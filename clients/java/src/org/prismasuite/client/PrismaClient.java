package org.prismasuite.client;

import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.Message;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;
import org.prismasuite.common.v1.AccessProto;
import org.prismasuite.common.v1.Job;
import org.prismasuite.common.v1.JobProto;
import org.prismasuite.common.v1.JobServiceGrpc;
import org.prismasuite.common.v1.Scope;
import org.prismasuite.common.v1.StatusProto;
import org.prismasuite.common.v1.StatusServiceGrpc;
import org.prismasuite.common.v1.WatchJobRequest;
import org.prismasuite.embedder.v1.EmbedderServiceGrpc;
import org.prismasuite.embedder.v1.EmbedderServiceProto;
import org.prismasuite.embedder.v1.FileLayout;
import org.prismasuite.embedder.v1.ImportDocumentsRequest;
import org.prismasuite.embedder.v1.ImportDocumentsResponse;
import org.prismasuite.interpreter.v1.InterpreterServiceGrpc;
import org.prismasuite.interpreter.v1.InterpreterServiceProto;
import org.prismasuite.search.v1.GetIndexStatusRequest;
import org.prismasuite.search.v1.IndexStatus;
import org.prismasuite.search.v1.SearchServiceGrpc;
import org.prismasuite.search.v1.SearchServiceProto;
import org.prismasuite.trainer.v1.TrainerServiceGrpc;
import org.prismasuite.trainer.v1.TrainerServiceProto;

/**
 * A client of PRISMA: one connection to its gateway, over which all services are called.
 *
 * <p>It has a method for the stub of each service, and messages are those of the generated packages. The package adds what
 * stubs do not do: TLS and API key, retries of calls that only read, jobs that are followed through outages, pages, imports
 * from an iterator, vectors and codes as arrays, and errors by reason.
 */
public final class PrismaClient implements AutoCloseable {
  private static final int MAX_MESSAGE_BYTES = 64 << 20;
  private static final List<FileDescriptor> SERVICES =
      List.of(
          JobProto.getDescriptor(),
          StatusProto.getDescriptor(),
          EmbedderServiceProto.getDescriptor(),
          TrainerServiceProto.getDescriptor(),
          InterpreterServiceProto.getDescriptor(),
          SearchServiceProto.getDescriptor());

  private final ManagedChannel channel;
  private final Duration patience;

  private PrismaClient(ManagedChannel channel, Duration patience) {
    this.channel = channel;
    this.patience = patience;
  }

  /**
   * Options of a client.
   *
   * @param tls encrypts the connection, and trusts Java's authorities
   * @param tlsAuthority the authority that signed the server's certificate, as PEM, or null. Implies {@code tls}
   * @param apiKey is sent with each call, or null. Only over TLS, unless the server is on this machine
   * @param patience how long an outage may last while a job is followed
   */
  public record Options(boolean tls, Path tlsAuthority, String apiKey, Duration patience) {
    /** Neither TLS nor key, and 10 minutes of patience. */
    public static final Options DEFAULT = new Options(false, null, null, Duration.ofMinutes(10));

    public Options withTls() {
      return new Options(true, tlsAuthority, apiKey, patience);
    }

    public Options withTlsAuthority(Path authority) {
      return new Options(true, authority, apiKey, patience);
    }

    public Options withApiKey(String key) {
      return new Options(tls, tlsAuthority, key, patience);
    }
  }

  /** A client of the gateway at an address such as {@code 127.0.0.1:50050}. It connects at the first call. */
  public static PrismaClient connect(String address, Options options) throws IOException {
    ChannelCredentials credentials = InsecureChannelCredentials.create();
    if (options.tlsAuthority() != null) {
      credentials = TlsChannelCredentials.newBuilder().trustManager(options.tlsAuthority().toFile()).build();
    } else if (options.tls()) {
      credentials = TlsChannelCredentials.create();
    }
    Metadata headers = new Metadata();
    if (options.apiKey() != null) {
      Metadata.Key<String> name = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
      headers.put(name, "Bearer " + options.apiKey());
    }
    ManagedChannel channel =
        Grpc.newChannelBuilder(address, credentials)
            .intercept(MetadataUtils.newAttachHeadersInterceptor(headers))
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .keepAliveTime(30, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .defaultServiceConfig(serviceConfig())
            .enableRetry()
            .build();
    return new PrismaClient(channel, options.patience());
  }

  public EmbedderServiceGrpc.EmbedderServiceBlockingStub embedder() {
    return EmbedderServiceGrpc.newBlockingStub(channel);
  }

  public TrainerServiceGrpc.TrainerServiceBlockingStub trainer() {
    return TrainerServiceGrpc.newBlockingStub(channel);
  }

  public InterpreterServiceGrpc.InterpreterServiceBlockingStub interpreter() {
    return InterpreterServiceGrpc.newBlockingStub(channel);
  }

  public SearchServiceGrpc.SearchServiceBlockingStub search() {
    return SearchServiceGrpc.newBlockingStub(channel);
  }

  public JobServiceGrpc.JobServiceBlockingStub jobs() {
    return JobServiceGrpc.newBlockingStub(channel);
  }

  public StatusServiceGrpc.StatusServiceBlockingStub status() {
    return StatusServiceGrpc.newBlockingStub(channel);
  }

  /** The connection, for other kinds of stubs. */
  public ManagedChannel channel() {
    return channel;
  }

  /**
   * Follows a job until it has succeeded, and calls {@code progress} with it after each change. While the gateway is
   * unreachable it reconnects, with growing pauses: the job goes on meanwhile.
   *
   * @throws PrismaException the error of the job, or of an outage that lasted longer than the client's patience
   */
  public Job await(Job job, Consumer<Job> progress) throws InterruptedException {
    WatchJobRequest request = WatchJobRequest.newBuilder().setName(job.getName()).build();
    Job latest = null;
    long pause = 200;
    Instant outage = null;
    while (true) {
      StatusRuntimeException interruption =
          Status.UNAVAILABLE.withDescription("the stream of the job ended early").asRuntimeException();
      try {
        for (Iterator<Job> updates = jobs().watchJob(request); updates.hasNext(); ) {
          Job update = updates.next();
          pause = 200;
          outage = null;
          if (!update.equals(latest)) {
            latest = update;
            progress.accept(update);
          }
        }
      } catch (StatusRuntimeException error) {
        interruption = error;
      }
      Job.State state = latest == null ? Job.State.STATE_UNSPECIFIED : latest.getState();
      if (state == Job.State.STATE_SUCCEEDED) {
        return latest;
      }
      if (state == Job.State.STATE_FAILED || state == Job.State.STATE_CANCELLED) {
        throw PrismaException.of(latest);
      }
      outage = outage == null ? Instant.now() : outage;
      boolean lasting = outage.plus(patience).isBefore(Instant.now());
      if (interruption.getStatus().getCode() != Status.Code.UNAVAILABLE || lasting) {
        throw PrismaException.of(interruption);
      }
      Thread.sleep(pause);
      pause = Math.min(2 * pause, 5_000);
    }
  }

  /** Follows a job until it has succeeded. */
  public Job await(Job job) throws InterruptedException {
    return await(job, update -> {});
  }

  /**
   * Waits until searches find what is stored in streams of the index: {@code documents}, {@code vectors} of a dataset,
   * {@code codes}, {@code labels} of a run, which {@code resource} names.
   */
  public void awaitIndex(String dataset, String resource, String... kinds) throws InterruptedException {
    GetIndexStatusRequest request = GetIndexStatusRequest.newBuilder().setDataset(dataset).build();
    while (true) {
      IndexStatus index = search().getIndexStatus(request);
      Stream<String> missing =
          Stream.of(kinds).filter(kind -> index.getStreamsList().stream().noneMatch(stream -> stream.getCurrent()
              && stream.getKind().equals(kind) && stream.getResource().equals(resource)));
      if (missing.findAny().isEmpty()) {
        return;
      }
      Thread.sleep(200);
    }
  }

  /**
   * All pages of a list, from that of the request's {@code page_token}: {@code pages(client.embedder()::listDocuments,
   * request)}.
   */
  public static <Q extends Message, P extends Message> Iterable<P> pages(Function<Q, P> list, Q request) {
    return () -> new Iterator<>() {
      private Q next = request;

      @Override
      public boolean hasNext() {
        return next != null;
      }

      @Override
      @SuppressWarnings("unchecked")
      public P next() {
        if (next == null) {
          throw new NoSuchElementException();
        }
        P page = list.apply(next);
        Object token = page.getField(page.getDescriptorForType().findFieldByName("next_page_token"));
        Message.Builder builder = next.toBuilder();
        builder.setField(next.getDescriptorForType().findFieldByName("page_token"), token);
        next = token.equals("") ? null : (Q) builder.build();
        return page;
      }
    };
  }

  /** Streams documents into a dataset, {@code datasets/{dataset}}, and reports which were rejected. */
  public ImportDocumentsResponse importDocuments(String dataset, Iterator<NewDocument> documents)
      throws InterruptedException {
    var config =
        ImportDocumentsRequest.Config.newBuilder().setDataset(dataset).setFormat(FileLayout.Format.FORMAT_JSON_LINES);
    try {
      var call = EmbedderServiceGrpc.newBlockingV2Stub(channel).importDocuments();
      boolean open = call.write(ImportDocumentsRequest.newBuilder().setConfig(config).build());
      while (open && documents.hasNext()) {
        open = call.write(ImportDocumentsRequest.newBuilder().setChunk(NewDocument.chunk(documents)).build());
      }
      call.halfClose();
      return call.read(); // throws what the server ended the call with
    } catch (StatusException error) {
      throw PrismaException.of(error);
    }
  }

  @Override
  public void close() {
    channel.shutdownNow();
  }

  /** Retries calls that only read while no server is reachable; others might be done twice. */
  private static Map<String, ?> serviceConfig() {
    List<Map<String, String>> names =
        SERVICES.stream()
            .flatMap(file -> file.getServices().stream())
            .flatMap(service -> service.getMethods().stream())
            .filter(method -> method.getOptions().getExtension(AccessProto.requiredScope) == Scope.SCOPE_READ)
            .map(method -> Map.of("service", method.getService().getFullName(), "method", method.getName()))
            .toList();
    Map<String, ?> retryPolicy =
        Map.of(
            "maxAttempts", 4.0,
            "initialBackoff", "0.2s",
            "maxBackoff", "2s",
            "backoffMultiplier", 2.0,
            "retryableStatusCodes", List.of("UNAVAILABLE"));
    return Map.of("methodConfig", List.of(Map.of("name", names, "retryPolicy", retryPolicy)));
  }
}
