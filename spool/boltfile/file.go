package boltfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// maxLost bounds the number of lost key ranges that are told apart.
const maxLost = 4096

// Range is a range of keys, without its end. A nil end is the end of all.
type Range struct{ From, To []byte }

func (r Range) contains(key []byte) bool {
	return bytes.Compare(key, r.From) >= 0 && (r.To == nil || bytes.Compare(key, r.To) < 0)
}

func (r Range) touches(prefix []byte) bool {
	return (r.To == nil || bytes.Compare(prefix, r.To) < 0) && bytes.Compare(After(prefix), r.From) > 0
}

// After returns the first key that does not begin with prefix, which must not consist of 0xff alone.
func After(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// File reads the pages of one bucket of a bbolt file. It uses no mapping, because a mapping of a damaged disk or of a file that
// shrinks is a signal instead of an error, and believes nothing it has not checked. It is for one goroutine.
type File struct {
	r        io.ReaderAt
	bucket   string
	size     int64
	pageSize int64
	// pages is the high-water mark: no page has this number or a higher one.
	pages uint64
	// seen has a bit for each page that belongs to what was walked, used counts them.
	seen []uint64
	used int64
	// buffers holds one page per depth of the walk.
	buffers [maxDepth + 1][]byte

	// cause is the first thing that was wrong.
	cause error
	// lost are the ranges of keys in which entries may be missing.
	lost []Range
}

// New returns a reader of the bucket in a file of size bytes. The pages have pageSize bytes and numbers below pages, or below what
// the file has room for.
func New(r io.ReaderAt, bucket string, size, pageSize int64, pages uint64) *File {
	inFile := uint64(size / pageSize)
	pages = min(pages, inFile)
	return &File{r: r, bucket: bucket, size: size, pageSize: pageSize, pages: pages, seen: make([]uint64, inFile/64+1)}
}

// Again returns a reader of the same file that has seen nothing yet, for a walk from m.
func (f *File) Again(m Meta) *File {
	return New(f.r, f.bucket, f.size, f.pageSize, m.Pages)
}

// Lose notes that entries of the range may be missing.
func (f *File) Lose(lost Range, cause error) {
	if f.cause == nil {
		f.cause = cause
	}
	if len(f.lost) >= maxLost {
		f.lost = []Range{{}}
		return
	}
	f.lost = append(f.lost, Range{bytes.Clone(lost.From), bytes.Clone(lost.To)})
}

// Cause returns the first thing that was wrong, nil if nothing was.
func (f *File) Cause() error { return f.cause }

// Used returns how many bytes the pages take that were walked.
func (f *File) Used() int64 { return f.used * f.pageSize }

// Pages returns the number of the first page that is not looked at.
func (f *File) Pages() uint64 { return f.pages }

// PageSize returns the length of a page in bytes.
func (f *File) PageSize() int64 { return f.pageSize }

// IsWhole says that no entry can be missing.
func (f *File) IsWhole() bool { return len(f.lost) == 0 && f.cause == nil }

// IsLost says whether the entry of the key may be missing.
func (f *File) IsLost(key []byte) bool {
	return slices.ContainsFunc(f.lost, func(r Range) bool { return r.contains(key) })
}

// HasLost says whether any entry whose key begins with prefix may be missing.
func (f *File) HasLost(prefix []byte) bool {
	return slices.ContainsFunc(f.lost, func(r Range) bool { return r.touches(prefix) })
}

// WasSeen says whether a page belongs to what was walked.
func (f *File) WasSeen(id uint64) bool {
	return f.seen[id/64]&(1<<(id%64)) != 0
}

// load reads a page with its overflow, and checks what its header says. The result is valid until the next load of the
// same depth.
func (f *File) load(id uint64, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: tree deeper than %d", ErrMalformed, maxDepth)
	}
	if id < 2 || id >= f.pages {
		return nil, fmt.Errorf("%w: page %d of %d", ErrMalformed, id, f.pages)
	}
	var header [PageHeaderLen]byte
	if _, err := f.r.ReadAt(header[:], int64(id)*f.pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	run := (int64(binary.LittleEndian.Uint32(header[12:])) + 1) * f.pageSize
	last := id + uint64(run/f.pageSize) - 1
	flags := binary.LittleEndian.Uint16(header[8:])
	switch {
	case binary.LittleEndian.Uint64(header[:]) != id:
		return nil, fmt.Errorf("%w: page %d has another number", ErrMalformed, id)
	case flags != BranchFlag && flags != LeafFlag:
		return nil, fmt.Errorf("%w: page %d has type %#x", ErrMalformed, id, flags)
	case run > maxRun || last >= f.pages:
		return nil, fmt.Errorf("%w: page %d of %d bytes", ErrMalformed, id, run)
	}
	for i := id; i <= last; i++ {
		if f.WasSeen(i) {
			return nil, fmt.Errorf("%w: page %d belongs to two", ErrMalformed, i)
		}
	}
	if int64(cap(f.buffers[depth])) < run {
		f.buffers[depth] = make([]byte, run)
	}
	page := f.buffers[depth][:run]
	if _, err := f.r.ReadAt(page, int64(id)*f.pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	for i := id; i <= last; i++ {
		f.seen[i/64] |= 1 << (i % 64)
		f.used++
	}
	return page, nil
}

// unload forgets that the page was seen.
func (f *File) unload(page []byte) {
	id := binary.LittleEndian.Uint64(page)
	for last := id + uint64(binary.LittleEndian.Uint32(page[12:])); id <= last; id++ {
		f.seen[id/64] &^= 1 << (id % 64)
		f.used--
	}
}
