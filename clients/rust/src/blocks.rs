//! Vectors and codes in blocks of bytes.

use std::fmt;

use crate::common::v1::{CodeBlock, VectorBlock, VectorEncoding};

/// A block whose parts contradict each other.
#[derive(Debug)]
pub struct BlockError(String);

impl fmt::Display for BlockError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for BlockError {}

/// The vectors of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Row numbers, counted from 0 where vectors belong to no dataset.
    pub rows: Vec<u64>,
    pub dimension: usize,
    /// Numbers of all vectors, row after row.
    pub values: Vec<f32>,
}

impl Vectors {
    /// The vector at a position, which is not its row number.
    pub fn vector(&self, position: usize) -> &[f32] {
        &self.values[position * self.dimension..(position + 1) * self.dimension]
    }

    /// A block of float32.
    pub fn pack(&self) -> VectorBlock {
        VectorBlock {
            rows: self.rows.clone(),
            dimension: self.dimension as u32,
            encoding: VectorEncoding::Float32.into(),
            data: self.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

impl TryFrom<&VectorBlock> for Vectors {
    type Error = BlockError;

    /// Decodes a block of float32 or float16.
    fn try_from(block: &VectorBlock) -> Result<Self, BlockError> {
        let size = match VectorEncoding::try_from(block.encoding) {
            Ok(VectorEncoding::Float16) => 2,
            Ok(_) => 4,
            Err(_) => {
                let encoding = block.encoding;
                return Err(BlockError(format!(
                    "this client does not know the encoding {encoding} of a vector block: update it"
                )));
            }
        };
        let dimension = block.dimension as usize;
        let (width, length) = (dimension * size, block.data.len());
        if width == 0 || !length.is_multiple_of(width) {
            return Err(BlockError(format!(
                "a vector block of dimension {dimension} has {length} bytes, which is no multiple of {width}"
            )));
        }
        let values = if size == 2 {
            block.data.as_chunks::<2>().0.iter().map(|bytes| widened(u16::from_le_bytes(*bytes))).collect()
        } else {
            floats(&block.data)
        };
        Ok(Self { rows: row_numbers(&block.rows, length / width)?, dimension, values })
    }
}

/// Sparse codes of some rows, as compressed sparse rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Codes {
    /// Row numbers, counted from 0 where codes belong to no dataset.
    pub rows: Vec<u64>,
    /// One longer than `rows`: where the latents of each row begin in `indices` and `values`.
    pub indptr: Vec<u32>,
    pub indices: Vec<u32>,
    pub values: Vec<f32>,
    pub latent_count: u32,
}

impl Codes {
    /// Latents and activations of the row at a position, which is not its row number.
    pub fn code(&self, position: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[position] as usize..self.indptr[position + 1] as usize;
        (&self.indices[range.clone()], &self.values[range])
    }
}

impl TryFrom<&CodeBlock> for Codes {
    type Error = BlockError;

    fn try_from(block: &CodeBlock) -> Result<Self, BlockError> {
        for part in [&block.indptr, &block.indices, &block.values] {
            if !part.len().is_multiple_of(4) {
                let length = part.len();
                return Err(BlockError(format!(
                    "a part of a code block has {length} bytes, which is no multiple of 4"
                )));
            }
        }
        let indptr = if block.indptr.is_empty() { vec![0] } else { integers(&block.indptr) };
        let (indices, values) = (integers(&block.indices), floats(&block.values));
        let (first, last) = (indptr[0], indptr[indptr.len() - 1]);
        if first != 0 || !indptr.is_sorted() || last as usize != indices.len() || indices.len() != values.len() {
            return Err(BlockError(format!(
                "a code block has {} indices and {} values, and an indptr that does not rise from 0 to that",
                indices.len(),
                values.len()
            )));
        }
        let rows = row_numbers(&block.rows, indptr.len() - 1)?;
        Ok(Self { rows, indptr, indices, values, latent_count: block.latent_count })
    }
}

fn row_numbers(rows: &[u64], count: usize) -> Result<Vec<u64>, BlockError> {
    match rows.len() {
        0 => Ok((0..count as u64).collect()),
        length if length == count => Ok(rows.to_vec()),
        length => Err(BlockError(format!("a block has {length} row numbers and {count} rows"))),
    }
}

fn integers(data: &[u8]) -> Vec<u32> {
    data.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

fn floats(data: &[u8]) -> Vec<f32> {
    data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// An IEEE 754 binary16 as binary32.
fn widened(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10) & 31, u32::from(bits) & 1023);
    f32::from_bits(match exponent {
        0 => sign | (fraction as f32 / (1 << 24) as f32).to_bits(), // zero, or subnormal: a multiple of 2^-24
        31 => sign | (255 << 23) | (fraction << 13),                // infinity or NaN
        _ => sign | ((exponent + 112) << 23) | (fraction << 13),
    })
}
