package org.prismasuite.client;

import com.google.gson.Gson;
import com.google.protobuf.ByteString;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.Map;

/** A text to import. */
public record NewDocument(String id, String text, Map<String, ?> metadata) {
  private static final Gson GSON = new Gson();
  private static final int CHUNK_BYTES = 1 << 20;

  public NewDocument(String id, String text) {
    this(id, text, Map.of());
  }

  /** The next documents as JSON lines, about CHUNK_BYTES. */
  static ByteString chunk(Iterator<NewDocument> documents) {
    ByteArrayOutputStream chunk = new ByteArrayOutputStream(CHUNK_BYTES);
    while (documents.hasNext() && chunk.size() < CHUNK_BYTES) {
      chunk.writeBytes((GSON.toJson(documents.next()) + "\n").getBytes(StandardCharsets.UTF_8));
    }
    return ByteString.copyFrom(chunk.toByteArray());
  }
}
