import { create } from "@bufbuild/protobuf";
import { type CodeBlock, type VectorBlock, VectorBlockSchema, VectorEncoding } from "./gen/prisma/common/v1/block_pb.js";

/** The vectors of some rows. */
export interface Vectors {
  /** Row numbers, counted from 0 where vectors belong to no dataset. */
  rows: bigint[];
  dimension: number;
  /** Numbers of all vectors, row after row. */
  values: Float32Array;
}

/** Sparse codes of some rows, as compressed sparse rows. */
export interface Codes {
  /** Row numbers, counted from 0 where codes belong to no dataset. */
  rows: bigint[];
  /** One longer than `rows`: where the latents of each row begin in `indices` and `values`. */
  indptr: Uint32Array;
  indices: Uint32Array;
  values: Float32Array;
  latentCount: number;
}

/** Decodes a block of float32 or float16 vectors. */
export function unpackVectors(block: VectorBlock): Vectors {
  if (block.encoding > VectorEncoding.FLOAT16) {
    throw new RangeError(`this client does not know the encoding ${block.encoding} of a vector block: update it`);
  }
  const size = block.encoding === VectorEncoding.FLOAT16 ? 2 : 4;
  const width = block.dimension * size;
  if (width === 0 || block.data.length % width !== 0) {
    throw new RangeError(
      `a vector block of dimension ${block.dimension} has ${block.data.length} bytes, which is no multiple of ${width}`,
    );
  }
  const rows = rowNumbers(block.rows, block.data.length / width);
  const view = viewOf(block.data);
  const values = Float32Array.from({ length: block.data.length / size }, (_, index) =>
    size === 2 ? float16(view.getUint16(2 * index, true)) : view.getFloat32(4 * index, true),
  );
  return { rows, dimension: block.dimension, values };
}

/** Encodes vectors of one dimension, row after row, as float32. */
export function packVectors(values: Float32Array, dimension: number): VectorBlock {
  const data = new Uint8Array(4 * values.length);
  const view = viewOf(data);
  values.forEach((value, index) => view.setFloat32(4 * index, value, true));
  return create(VectorBlockSchema, { dimension, encoding: VectorEncoding.FLOAT32, data });
}

/** The vector at a position, which is not its row number. It shares memory. */
export function vectorAt(vectors: Vectors, position: number): Float32Array {
  return vectors.values.subarray(position * vectors.dimension, (position + 1) * vectors.dimension);
}

/** Decodes a block of codes. */
export function unpackCodes(block: CodeBlock): Codes {
  for (const part of [block.indptr, block.indices, block.values]) {
    if (part.length % 4) throw new RangeError(`a part of a code block has ${part.length} bytes, which is no multiple of 4`);
  }
  const indptr = block.indptr.length ? uint32s(block.indptr) : new Uint32Array(1);
  const indices = uint32s(block.indices);
  const values = new Float32Array(uint32s(block.values).buffer);
  const rows = rowNumbers(block.rows, indptr.length - 1);
  const last = indptr[rows.length];
  const rises = indptr.every((start, position) => start >= (indptr[position - 1] ?? 0));
  if (indptr[0] !== 0 || !rises || last !== indices.length || indices.length !== values.length) {
    throw new RangeError(
      `a code block has ${indices.length} indices and ${values.length} values, and an indptr that does not rise from 0 to that`,
    );
  }
  return { rows, indptr, indices, values, latentCount: block.latentCount };
}

/** Latents and activations of the row at a position, which is not its row number. They share memory. */
export function codeAt(codes: Codes, position: number): { indices: Uint32Array; values: Float32Array } {
  const [start, end] = codes.indptr.subarray(position, position + 2);
  return { indices: codes.indices.subarray(start, end), values: codes.values.subarray(start, end) };
}

function rowNumbers(rows: bigint[], count: number): bigint[] {
  const numbers = rows.length ? rows : Array.from({ length: count }, (_, position) => BigInt(position));
  if (numbers.length !== count) throw new RangeError(`a block has ${rows.length} row numbers and ${count} rows`);
  return numbers;
}

function uint32s(data: Uint8Array): Uint32Array<ArrayBuffer> {
  const view = viewOf(data);
  return Uint32Array.from({ length: data.length / 4 }, (_, index) => view.getUint32(4 * index, true));
}

function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/** Widens an IEEE 754 binary16, which JavaScript before Float16Array does not know. */
function float16(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
