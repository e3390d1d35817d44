package org.prismasuite.client;

import com.google.protobuf.ByteString;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.prismasuite.common.v1.CodeBlock;

/**
 * Sparse codes of some rows, as compressed sparse rows.
 *
 * @param rows row numbers, counted from 0 where codes belong to no dataset
 * @param indptr one longer than {@code rows}: where the latents of each row begin in {@code indices} and {@code values}
 */
public record Codes(long[] rows, int[] indptr, int[] indices, float[] values, int latentCount) {

  /** Decodes a block. */
  public static Codes of(CodeBlock block) {
    int[] indptr = block.getIndptr().isEmpty() ? new int[1] : integers(block.getIndptr());
    int[] indices = integers(block.getIndices());
    float[] values = new float[integers(block.getValues()).length];
    block.getValues().asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    boolean rises = indptr[0] == 0;
    for (int position = 1; position < indptr.length; position++) {
      rises &= indptr[position - 1] <= indptr[position];
    }
    if (!rises || indptr[indptr.length - 1] != indices.length || indices.length != values.length) {
      throw new IllegalArgumentException(
          "a code block has %d indices and %d values, and an indptr that does not rise from 0 to that"
              .formatted(indices.length, values.length));
    }
    long[] rows = block.getRowsList().stream().mapToLong(Long::longValue).toArray();
    return new Codes(Vectors.rowNumbers(rows, indptr.length - 1), indptr, indices, values, block.getLatentCount());
  }

  /** Latents of the row at a position, which is not its row number. */
  public int[] latents(int position) {
    return Arrays.copyOfRange(indices, indptr[position], indptr[position + 1]);
  }

  /** Activations of the latents of that row. */
  public float[] activations(int position) {
    return Arrays.copyOfRange(values, indptr[position], indptr[position + 1]);
  }

  private static int[] integers(ByteString data) {
    if (data.size() % 4 != 0) {
      throw new IllegalArgumentException(
          "a part of a code block has %d bytes, which is no multiple of 4".formatted(data.size()));
    }
    int[] values = new int[data.size() / 4];
    data.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).asIntBuffer().get(values);
    return values;
  }
}
