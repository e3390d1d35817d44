package org.prismasuite.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status.Code;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.prismasuite.common.v1.Job;

/** An error of a call, or of a job that failed or was cancelled, with its details. */
public final class PrismaException extends RuntimeException {
  private final Code code;
  private final Job job;
  private String reason = "";
  private Map<String, String> metadata = Map.of();
  private List<BadRequest.FieldViolation> violations = List.of();
  private Duration retryDelay = Duration.ZERO;

  private PrismaException(com.google.rpc.Status status, Job job, Throwable cause) {
    super(status.getMessage(), cause);
    this.code = io.grpc.Status.fromCodeValue(status.getCode()).getCode();
    this.job = job;
    try {
      for (Any detail : status.getDetailsList()) {
        read(detail);
      }
    } catch (InvalidProtocolBufferException error) {
      addSuppressed(error);
    }
  }

  /** The details of what a stub threw. */
  public static PrismaException of(Throwable error) {
    if (error instanceof PrismaException exception) {
      return exception;
    }
    return new PrismaException(StatusProto.fromThrowable(error), null, error);
  }

  /** The error of a job. */
  public static PrismaException of(Job job) {
    return new PrismaException(job.getError(), job, null);
  }

  /** The details of a status in a message, as in {@code Job.error}. */
  public static PrismaException of(com.google.rpc.Status status) {
    return new PrismaException(status, null, null);
  }

  public Code code() {
    return code;
  }

  /** A name of ErrorReason without its prefix, such as {@code RUN_NOT_FOUND}. Empty for errors of gRPC itself. */
  public String reason() {
    return reason;
  }

  /** Names resources in full: that of {@code run} is {@code runs/{run}}. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** The wrong fields of a request. */
  public List<BadRequest.FieldViolation> violations() {
    return violations;
  }

  /** How long to wait before the call is repeated; zero where the server does not say. */
  public Duration retryDelay() {
    return retryDelay;
  }

  /** The job that failed; null for the error of a call. */
  public Job job() {
    return job;
  }

  private void read(Any detail) throws InvalidProtocolBufferException {
    if (detail.is(ErrorInfo.class)) {
      ErrorInfo info = detail.unpack(ErrorInfo.class);
      reason = info.getReason();
      metadata = info.getMetadataMap();
    } else if (detail.is(BadRequest.class)) {
      violations = detail.unpack(BadRequest.class).getFieldViolationsList();
    } else if (detail.is(RetryInfo.class)) {
      var delay = detail.unpack(RetryInfo.class).getRetryDelay();
      retryDelay = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
    }
  }
}
