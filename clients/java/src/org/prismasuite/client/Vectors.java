package org.prismasuite.client;

import com.google.protobuf.ByteString;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.prismasuite.common.v1.VectorBlock;
import org.prismasuite.common.v1.VectorEncoding;

/**
 * The vectors of some rows.
 *
 * @param rows row numbers, counted from 0 where vectors belong to no dataset
 * @param values numbers of all vectors, row after row
 */
public record Vectors(long[] rows, int dimension, float[] values) {

  /** Decodes a block of float32 or float16. */
  public static Vectors of(VectorBlock block) {
    if (block.getEncoding() == VectorEncoding.UNRECOGNIZED) {
      throw new IllegalArgumentException(
          "this client does not know the encoding " + block.getEncodingValue() + " of a vector block: update it");
    }
    int size = block.getEncoding() == VectorEncoding.VECTOR_ENCODING_FLOAT16 ? 2 : 4;
    int width = block.getDimension() * size;
    int length = block.getData().size();
    if (width <= 0 || length % width != 0) {
      throw new IllegalArgumentException(
          "a vector block of dimension %d has %d bytes, which is no multiple of %d"
              .formatted(block.getDimension(), length, width));
    }
    ByteBuffer data = block.getData().asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    float[] values = new float[length / size];
    for (int index = 0; index < values.length; index++) {
      values[index] = size == 2 ? float16(data.getShort()) : data.getFloat();
    }
    long[] rows = rowNumbers(block.getRowsList().stream().mapToLong(Long::longValue).toArray(), length / width);
    return new Vectors(rows, block.getDimension(), values);
  }

  /** The vector at a position, which is not its row number. */
  public float[] vector(int position) {
    return Arrays.copyOfRange(values, position * dimension, (position + 1) * dimension);
  }

  /** A block of float32. */
  public VectorBlock pack() {
    ByteBuffer data = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    data.asFloatBuffer().put(values);
    return VectorBlock.newBuilder()
        .addAllRows(Arrays.stream(rows).boxed().toList())
        .setDimension(dimension)
        .setEncoding(VectorEncoding.VECTOR_ENCODING_FLOAT32)
        .setData(ByteString.copyFrom(data))
        .build();
  }

  static long[] rowNumbers(long[] rows, int count) {
    if (rows.length == 0) {
      long[] numbers = new long[count];
      Arrays.setAll(numbers, position -> position);
      return numbers;
    }
    if (rows.length != count) {
      throw new IllegalArgumentException("a block has %d row numbers and %d rows".formatted(rows.length, count));
    }
    return rows;
  }

  /** Widens an IEEE 754 binary16, which Java knows from 20 on. */
  private static float float16(short half) {
    int sign = (half & 0x8000) << 16;
    int exponent = half >> 10 & 31;
    int fraction = half & 1023;
    return switch (exponent) {
      case 0 -> Math.copySign(fraction / (float) (1 << 24), sign < 0 ? -1f : 1f); // a multiple of 2^-24
      case 31 -> Float.intBitsToFloat(sign | 255 << 23 | fraction << 13); // infinity or NaN
      default -> Float.intBitsToFloat(sign | exponent + 112 << 23 | fraction << 13);
    };
  }
}
