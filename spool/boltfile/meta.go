package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// The layout of bbolt's file, version 2 (internal/common/page.go, meta.go and bucket.go of bbolt 1.5.0). It is the memory
// of the writer: little-endian on every platform this is built for, and without padding that differs between 32 and 64
// bits.
//
//	page header   id u64, flags u16, count u16, overflow u32
//	meta          magic u32, version u32, page size u32, flags u32, root u64, sequence u64, freelist u64,
//	              high-water page u64, transaction u64, FNV-64a of all before u64
//	branch        count * (pos u32, key length u32, page u64), keys
//	leaf          count * (flags u32, pos u32, key length u32, value length u32), keys and values
//	bucket value  root u64, sequence u64, and a leaf page if root is 0
const (
	// PageHeaderLen is the length of the header of each page, MetaLen that of the meta data behind the header of a meta page.
	PageHeaderLen   = 16
	MetaLen         = 64
	bucketHeaderLen = 16
	// ElementLen is what a leaf stores for an entry beside its key and value.
	ElementLen = 16

	// BranchFlag and LeafFlag are the types of the pages of a tree.
	BranchFlag = 0x01
	LeafFlag   = 0x02
	metaFlag   = 0x04
	bucketFlag = 0x01

	metaMagic   = 0xED0CDAED
	metaVersion = 2

	// DefaultPageSize is what GuessPageSize returns for a file in which no page knows its number.
	DefaultPageSize = 4096
	minPageSize     = 1 << 10
	maxPageSize     = 64 << 10

	// maxRun is the greatest length of a page with its overflow. bbolt does not split a leaf of up to four entries, so
	// one of four bodies of 64 KiB is legal.
	maxRun = 1 << 20
	// maxDepth is far above that of a tree of 1 GiB.
	maxDepth = 24
)

// ValidPageSize says whether pages can have n bytes: a power of two from 1,024 to 65,536.
func ValidPageSize(n int64) bool {
	return n >= minPageSize && n <= maxPageSize && n&(n-1) == 0
}

// Meta is what a valid meta page says.
type Meta struct {
	// PageSize is in bytes, Root the number of the page of the root, Pages that of the first page that was never used, Tx that of the
	// transaction.
	PageSize        int64
	Root, Pages, Tx uint64
	// Flaw is what is wrong with the page header, which the checksum leaves out; nil if nothing is. What the meta page says is
	// valid all the same.
	Flaw error
}

var (
	// ErrMalformed is wrapped by whatever says what is wrong with a page or an entry.
	ErrMalformed = errors.New("malformed entry")
	// ErrNewer is returned for a file of a newer format of bbolt, whose pages may have any layout.
	ErrNewer = errors.New("file of a newer bbolt")
)

func parseMeta(page []byte, id uint64) (Meta, error) {
	if len(page) < PageHeaderLen+MetaLen {
		return Meta{}, fmt.Errorf("%w: meta page of %d bytes", ErrMalformed, len(page))
	}
	b := page[PageHeaderLen : PageHeaderLen+MetaLen]
	h := fnv.New64a()
	_, _ = h.Write(b[:MetaLen-8])
	switch {
	case binary.LittleEndian.Uint32(b) != metaMagic:
		return Meta{}, fmt.Errorf("%w: meta page without its magic number", ErrMalformed)
	case binary.LittleEndian.Uint64(b[MetaLen-8:]) != h.Sum64():
		return Meta{}, fmt.Errorf("%w: checksum of a meta page", ErrMalformed)
	case binary.LittleEndian.Uint32(b[4:]) > metaVersion:
		return Meta{}, ErrNewer
	}
	m := Meta{
		PageSize: int64(binary.LittleEndian.Uint32(b[8:])),
		Root:     binary.LittleEndian.Uint64(b[16:]),
		Pages:    binary.LittleEndian.Uint64(b[40:]),
		Tx:       binary.LittleEndian.Uint64(b[48:]),
	}
	if !ValidPageSize(m.PageSize) {
		return Meta{}, fmt.Errorf("%w: page size %d", ErrMalformed, m.PageSize)
	}
	header := binary.LittleEndian.AppendUint64(make([]byte, 0, PageHeaderLen), id)
	header = binary.LittleEndian.AppendUint16(header, metaFlag)
	if !bytes.Equal(page[:PageHeaderLen], header[:PageHeaderLen]) {
		m.Flaw = fmt.Errorf("%w: header of meta page %d", ErrMalformed, id)
	}
	return m, nil
}

// ReadMetas returns the valid meta pages, the newest first, and why others are not valid.
func ReadMetas(r io.ReaderAt) ([]Meta, error) {
	var metas []Meta
	var reasons []error
	page := make([]byte, PageHeaderLen+MetaLen)
	read := func(offset int64, id uint64) (Meta, error) {
		if _, err := r.ReadAt(page, offset); err != nil {
			return Meta{}, fmt.Errorf("read meta page: %w", err)
		}
		return parseMeta(page, id)
	}
	first, err := read(0, 0)
	if err == nil {
		metas = append(metas, first)
	} else {
		reasons = append(reasons, err)
	}
	// The second meta page is one page in, and how much that is the first one says, if it can.
	for size := int64(minPageSize); size <= maxPageSize; size *= 2 {
		if len(metas) > 0 && size != first.PageSize {
			continue
		}
		m, err := read(size, 1)
		switch {
		case errors.Is(err, ErrNewer), err != nil && size == first.PageSize:
			reasons = append(reasons, err)
		case err == nil && m.PageSize == size:
			metas = append(metas, m)
		}
	}
	slices.SortFunc(metas, func(a, b Meta) int {
		if a.Tx > b.Tx {
			return -1
		}
		return 1
	})
	return metas, errors.Join(reasons...)
}

// GuessPageSize returns the page size with which most pages know their own number, for a file whose meta pages are both
// gone.
func GuessPageSize(r io.ReaderAt, size int64) int64 {
	best, most := int64(DefaultPageSize), 0
	var header [PageHeaderLen]byte
	for pageSize := int64(minPageSize); pageSize <= maxPageSize; pageSize *= 2 {
		n := 0
		for id := int64(2); id < size/pageSize; id++ {
			if _, err := r.ReadAt(header[:], id*pageSize); err != nil {
				continue
			}
			flags := binary.LittleEndian.Uint16(header[8:])
			if binary.LittleEndian.Uint64(header[:]) == uint64(id) && (flags == BranchFlag || flags == LeafFlag) {
				n++
			}
		}
		if n > most {
			best, most = pageSize, n
		}
	}
	return best
}
