package prisma

import (
	"encoding/binary"
	"fmt"
	"math"

	commonv1 "prisma/common/v1"
)

// Vectors are the vectors of some rows.
type Vectors struct {
	// Rows are row numbers, counted from 0 where vectors belong to no dataset.
	Rows      []uint64
	Dimension int
	// Values of all vectors, row after row.
	Values []float32
}

// Vector returns the vector at a position, which is not its row number. It shares memory.
func (vectors *Vectors) Vector(position int) []float32 {
	return vectors.Values[position*vectors.Dimension : (position+1)*vectors.Dimension]
}

// UnpackVectors decodes a block of float32 or float16 vectors.
func UnpackVectors(block *commonv1.VectorBlock) (*Vectors, error) {
	size := 4
	if block.Encoding == commonv1.VectorEncoding_VECTOR_ENCODING_FLOAT16 {
		size = 2
	} else if block.Encoding > commonv1.VectorEncoding_VECTOR_ENCODING_FLOAT16 {
		return nil, fmt.Errorf("this client does not know the encoding %d of a vector block: update it", block.Encoding)
	}
	width := int(block.Dimension) * size
	if width == 0 || len(block.Data)%width != 0 {
		return nil, fmt.Errorf("a vector block of dimension %d has %d bytes, which is no multiple of %d",
			block.Dimension, len(block.Data), width)
	}
	rows, err := rowNumbers(block.Rows, len(block.Data)/width)
	if err != nil {
		return nil, err
	}
	values := make([]float32, len(block.Data)/size)
	for index := range values {
		if size == 2 {
			values[index] = float16(binary.LittleEndian.Uint16(block.Data[2*index:]))
		} else {
			values[index] = math.Float32frombits(binary.LittleEndian.Uint32(block.Data[4*index:]))
		}
	}
	return &Vectors{Rows: rows, Dimension: int(block.Dimension), Values: values}, nil
}

// PackVectors encodes vectors of one dimension, row after row, as float32.
func PackVectors(values []float32, dimension int) *commonv1.VectorBlock {
	data := make([]byte, 0, 4*len(values))
	for _, value := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(value))
	}
	return &commonv1.VectorBlock{
		Dimension: uint32(dimension), Encoding: commonv1.VectorEncoding_VECTOR_ENCODING_FLOAT32, Data: data,
	}
}

// Codes are the sparse codes of some rows, as compressed sparse rows.
type Codes struct {
	// Rows are row numbers, counted from 0 where codes belong to no dataset.
	Rows []uint64
	// Indptr, one longer than Rows, says where the latents of each row begin in Indices and Values.
	Indptr, Indices []uint32
	Values          []float32
	LatentCount     int
}

// Code returns latents and activations of the row at a position, which is not its row number. They share memory.
func (codes *Codes) Code(position int) ([]uint32, []float32) {
	start, end := codes.Indptr[position], codes.Indptr[position+1]
	return codes.Indices[start:end], codes.Values[start:end]
}

// UnpackCodes decodes a block of codes.
func UnpackCodes(block *commonv1.CodeBlock) (*Codes, error) {
	for _, data := range [][]byte{block.Indptr, block.Indices, block.Values} {
		if len(data)%4 != 0 {
			return nil, fmt.Errorf("a part of a code block has %d bytes, which is no multiple of 4", len(data))
		}
	}
	indptr, indices, values := uint32s(block.Indptr), uint32s(block.Indices), uint32s(block.Values)
	if len(indptr) == 0 {
		indptr = []uint32{0}
	}
	rows, err := rowNumbers(block.Rows, len(indptr)-1)
	if err != nil {
		return nil, err
	}
	for position := range rows {
		if indptr[position] > indptr[position+1] {
			return nil, fmt.Errorf("the indptr of a code block falls at %d", position)
		}
	}
	if indptr[0] != 0 || int(indptr[len(rows)]) != len(indices) || len(indices) != len(values) {
		return nil, fmt.Errorf("a code block has %d indices and %d values, and an indptr from %d to %d",
			len(indices), len(values), indptr[0], indptr[len(rows)])
	}
	activations := make([]float32, len(values))
	for index, value := range values {
		activations[index] = math.Float32frombits(value)
	}
	return &Codes{
		Rows: rows, Indptr: indptr, Indices: indices, Values: activations, LatentCount: int(block.LatentCount),
	}, nil
}

func rowNumbers(rows []uint64, count int) ([]uint64, error) {
	if len(rows) == 0 {
		rows = make([]uint64, count)
		for position := range rows {
			rows[position] = uint64(position)
		}
	}
	if len(rows) != count {
		return nil, fmt.Errorf("a block has %d row numbers and %d rows", len(rows), count)
	}
	return rows, nil
}

func uint32s(data []byte) []uint32 {
	values := make([]uint32, len(data)/4)
	for index := range values {
		values[index] = binary.LittleEndian.Uint32(data[4*index:])
	}
	return values
}

// float16 widens an IEEE 754 binary16, which the standard library does not know.
func float16(bits uint16) float32 {
	sign, exponent, fraction := uint32(bits>>15)<<31, uint32(bits>>10)&31, uint32(bits)&1023
	switch exponent {
	case 0: // zero, or subnormal: a multiple of 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)/(1<<24)))
	case 31: // infinity or NaN
		return math.Float32frombits(sign | 255<<23 | fraction<<13)
	default:
		return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
	}
}
