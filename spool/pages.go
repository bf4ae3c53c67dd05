package spool

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
	pageHeaderLen   = 16
	metaLen         = 64
	bucketHeaderLen = 16

	branchFlag = 0x01
	leafFlag   = 0x02
	metaFlag   = 0x04
	bucketFlag = 0x01

	metaMagic   = 0xED0CDAED
	metaVersion = 2

	minPageSize = 1 << 10
	maxPageSize = 64 << 10

	// maxRun is the greatest length of a page with its overflow. bbolt does not split a leaf of up to four entries, so
	// one of four bodies of 64 KiB is legal.
	maxRun = 1 << 20
	// maxDepth is far above that of a tree of 1 GiB.
	maxDepth = 24
	// maxLost bounds the number of lost key ranges that are told apart.
	maxLost = 4096
)

func validPageSize(n int64) bool {
	return n >= minPageSize && n <= maxPageSize && n&(n-1) == 0
}

// meta is what a valid meta page says.
type meta struct {
	pageSize int64
	root     uint64
	pages    uint64
	txid     uint64
	// flaw is what is wrong with the page header, which the checksum leaves out. What the meta page says is valid all the
	// same.
	flaw error
}

var errNewerBbolt = fmt.Errorf("%w: of bbolt", ErrVersion)

func parseMeta(page []byte, id uint64) (meta, error) {
	if len(page) < pageHeaderLen+metaLen {
		return meta{}, fmt.Errorf("%w: meta page of %d bytes", errMalformed, len(page))
	}
	b := page[pageHeaderLen : pageHeaderLen+metaLen]
	h := fnv.New64a()
	_, _ = h.Write(b[:metaLen-8])
	switch {
	case binary.LittleEndian.Uint32(b) != metaMagic:
		return meta{}, fmt.Errorf("%w: meta page without its magic number", errMalformed)
	case binary.LittleEndian.Uint64(b[metaLen-8:]) != h.Sum64():
		return meta{}, fmt.Errorf("%w: checksum of a meta page", errMalformed)
	case binary.LittleEndian.Uint32(b[4:]) > metaVersion:
		return meta{}, errNewerBbolt
	}
	m := meta{
		pageSize: int64(binary.LittleEndian.Uint32(b[8:])),
		root:     binary.LittleEndian.Uint64(b[16:]),
		pages:    binary.LittleEndian.Uint64(b[40:]),
		txid:     binary.LittleEndian.Uint64(b[48:]),
	}
	if !validPageSize(m.pageSize) {
		return meta{}, fmt.Errorf("%w: page size %d", errMalformed, m.pageSize)
	}
	header := binary.LittleEndian.AppendUint64(make([]byte, 0, pageHeaderLen), id)
	header = binary.LittleEndian.AppendUint16(header, metaFlag)
	if !bytes.Equal(page[:pageHeaderLen], header[:pageHeaderLen]) {
		m.flaw = fmt.Errorf("%w: header of meta page %d", errMalformed, id)
	}
	return m, nil
}

// readMetas returns the valid meta pages, the newest first, and why others are not valid.
func readMetas(r io.ReaderAt) ([]meta, error) {
	var metas []meta
	var reasons []error
	page := make([]byte, pageHeaderLen+metaLen)
	read := func(offset int64, id uint64) (meta, error) {
		if _, err := r.ReadAt(page, offset); err != nil {
			return meta{}, fmt.Errorf("read meta page: %w", err)
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
		if len(metas) > 0 && size != first.pageSize {
			continue
		}
		m, err := read(size, 1)
		switch {
		case errors.Is(err, ErrVersion), err != nil && size == first.pageSize:
			reasons = append(reasons, err)
		case err == nil && m.pageSize == size:
			metas = append(metas, m)
		}
	}
	slices.SortFunc(metas, func(a, b meta) int {
		if a.txid > b.txid {
			return -1
		}
		return 1
	})
	return metas, errors.Join(reasons...)
}

// keyRange is a range of keys, without its end. A nil end is the end of all.
type keyRange struct{ from, to []byte }

func (r keyRange) contains(key []byte) bool {
	return bytes.Compare(key, r.from) >= 0 && (r.to == nil || bytes.Compare(key, r.to) < 0)
}

func (r keyRange) touches(prefix []byte) bool {
	return (r.to == nil || bytes.Compare(prefix, r.to) < 0) && bytes.Compare(after(prefix), r.from) > 0
}

// pageFile reads the pages of a bbolt file that may be damaged in any way. It uses no mapping, because a mapping of a
// damaged disk or of a file that shrinks is a signal instead of an error, and believes nothing it has not checked.
type pageFile struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	// pages is the high-water mark: no page has this number or a higher one.
	pages uint64
	// seen has a bit for each page that belongs to what was walked.
	seen []uint64
	// used counts the pages in seen.
	used int64
	// buffers holds one page per depth of the walk.
	buffers [maxDepth + 1][]byte

	// cause is the first thing that was wrong.
	cause error
	// lost are the ranges of keys in which entries may be missing.
	lost []keyRange
}

func newPageFile(r io.ReaderAt, size, pageSize int64, pages uint64) *pageFile {
	inFile := uint64(size / pageSize)
	pages = min(pages, inFile)
	return &pageFile{r: r, size: size, pageSize: pageSize, pages: pages, seen: make([]uint64, inFile/64+1)}
}

// lose notes that entries of the range may be missing.
func (f *pageFile) lose(lost keyRange, cause error) {
	if f.cause == nil {
		f.cause = cause
	}
	if len(f.lost) >= maxLost {
		f.lost = []keyRange{{}}
		return
	}
	f.lost = append(f.lost, keyRange{bytes.Clone(lost.from), bytes.Clone(lost.to)})
}

func (f *pageFile) isLost(key []byte) bool {
	return slices.ContainsFunc(f.lost, func(r keyRange) bool { return r.contains(key) })
}

func (f *pageFile) hasLost(prefix []byte) bool {
	return slices.ContainsFunc(f.lost, func(r keyRange) bool { return r.touches(prefix) })
}

func (f *pageFile) wasSeen(id uint64) bool {
	return f.seen[id/64]&(1<<(id%64)) != 0
}

// load reads a page with its overflow, and checks what its header says. The result is valid until the next load of the
// same depth.
func (f *pageFile) load(id uint64, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: tree deeper than %d", errMalformed, maxDepth)
	}
	if id < 2 || id >= f.pages {
		return nil, fmt.Errorf("%w: page %d of %d", errMalformed, id, f.pages)
	}
	var header [pageHeaderLen]byte
	if _, err := f.r.ReadAt(header[:], int64(id)*f.pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	run := (int64(binary.LittleEndian.Uint32(header[12:])) + 1) * f.pageSize
	last := id + uint64(run/f.pageSize) - 1
	flags := binary.LittleEndian.Uint16(header[8:])
	switch {
	case binary.LittleEndian.Uint64(header[:]) != id:
		return nil, fmt.Errorf("%w: page %d has another number", errMalformed, id)
	case flags != branchFlag && flags != leafFlag:
		return nil, fmt.Errorf("%w: page %d has type %#x", errMalformed, id, flags)
	case run > maxRun || last >= f.pages:
		return nil, fmt.Errorf("%w: page %d of %d bytes", errMalformed, id, run)
	}
	for i := id; i <= last; i++ {
		if f.wasSeen(i) {
			return nil, fmt.Errorf("%w: page %d belongs to two", errMalformed, i)
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
func (f *pageFile) unload(page []byte) {
	id := binary.LittleEndian.Uint64(page)
	for last := id + uint64(binary.LittleEndian.Uint32(page[12:])); id <= last; id++ {
		f.seen[id/64] &^= 1 << (id % 64)
		f.used--
	}
}

// visit is called with each entry. The slices are valid during the call. An error means that the entry is damaged.
type visit func(key, value []byte) error

// walk visits all entries of the bucket that can be reached from m.
func (f *pageFile) walk(m meta, v visit) {
	root, err := f.load(m.root, 0)
	if err != nil {
		f.lose(keyRange{}, fmt.Errorf("root: %w", err))
		return
	}
	// Copied because what it holds may be a whole inline page.
	root = bytes.Clone(root)
	found := false
	f.leaf(root, keyRange{}, bucketFlag, func(name, value []byte) error {
		if string(name) != bucketName || len(value) < bucketHeaderLen {
			return fmt.Errorf("%w: bucket %q", errMalformed, name)
		}
		found = true
		if id := binary.LittleEndian.Uint64(value); id != 0 {
			f.node(pageReference{id: id}, keyRange{}, 1, v)
		} else {
			f.leaf(value[bucketHeaderLen:], keyRange{}, 0, v)
		}
		return nil
	})
	if !found {
		f.lose(keyRange{}, fmt.Errorf("%w: no bucket %q", errMalformed, bucketName))
	}
}

// pageReference is how a branch page leads to another: by the key that the page must begin with; nil for the root. Should it begin
// with another, entries may be missing from lostFrom on, where the page before begins.
type pageReference struct {
	id              uint64
	first, lostFrom []byte
}

// node visits the entries below a page. One that does not begin with the key that leads to it is not visited: either the key lost
// a bit, or the page number, which may then be that of an old copy. bbolt panics over a page that begins below its key, and puts a
// second reference to one that begins above it into the tree. Rescue looks at what lies in such a range page by page.
func (f *pageFile) node(r pageReference, within keyRange, depth int, v visit) {
	page, err := f.load(r.id, depth)
	if err != nil {
		f.lose(within, err)
		return
	}
	isLeaf := binary.LittleEndian.Uint16(page[8:]) == leafFlag
	if key := firstKey(page, isLeaf); r.first != nil && !bytes.Equal(key, r.first) {
		f.unload(page)
		f.lose(keyRange{r.lostFrom, within.to}, fmt.Errorf("%w: page %d does not begin with the key that leads to it", errMalformed, r.id))
		return
	}
	if isLeaf {
		f.leaf(page, within, 0, v)
		return
	}
	f.branch(page, within, depth, v)
}

// firstKey returns the first key of a page, or nil if it has none.
func firstKey(page []byte, isLeaf bool) []byte {
	at := pageHeaderLen
	if isLeaf {
		at += 4
	}
	if binary.LittleEndian.Uint16(page[10:]) == 0 {
		return nil
	}
	from := uint64(pageHeaderLen) + uint64(binary.LittleEndian.Uint32(page[at:]))
	to := from + uint64(binary.LittleEndian.Uint32(page[at+4:]))
	if to > uint64(len(page)) {
		return nil
	}
	return page[from:to]
}

// branch visits the children of a branch page. Each must keep to the range between its key and the next.
func (f *pageFile) branch(page []byte, within keyRange, depth int, v visit) {
	id := binary.LittleEndian.Uint64(page)
	count := int(binary.LittleEndian.Uint16(page[10:]))
	key := func(i int) ([]byte, uint64, bool) {
		at := pageHeaderLen + i*16
		if i < 0 || at+16 > len(page) {
			return nil, 0, false
		}
		from := uint64(at) + uint64(binary.LittleEndian.Uint32(page[at:]))
		to := from + uint64(binary.LittleEndian.Uint32(page[at+4:]))
		if from < uint64(pageHeaderLen+count*16) || to <= from || to > uint64(len(page)) {
			return nil, 0, false
		}
		return page[from:to], binary.LittleEndian.Uint64(page[at+8:]), true
	}
	if count == 0 {
		f.lose(within, fmt.Errorf("%w: branch page %d is empty", errMalformed, id))
		return
	}
	// The first key lies right behind the table: a second witness of the count.
	if int(binary.LittleEndian.Uint32(page[pageHeaderLen:])) != count*16 {
		f.lose(within, fmt.Errorf("%w: count of branch page %d", errMalformed, id))
	}
	// A key that lost a bit may look like the neighbour of its neighbours' neighbours, so a child is followed only if its
	// key fits both. What is lost begins at the last key before that fits, and ends at the next.
	good := func(i int) bool {
		k, _, ok := key(i)
		if !ok || bytes.Compare(k, within.from) < 0 || within.to != nil && bytes.Compare(k, within.to) >= 0 {
			return false
		}
		if before, _, ok := key(i - 1); i > 0 && (!ok || bytes.Compare(before, k) >= 0) {
			return false
		}
		next, _, ok := key(i + 1)
		return i+1 == count || ok && bytes.Compare(k, next) < 0
	}
	from := within.from
	for i := 0; i < count; {
		if !good(i) {
			for i++; i < count && !good(i); i++ {
			}
			to := within.to
			if i < count {
				to, _, _ = key(i)
			}
			f.lose(keyRange{from, to}, fmt.Errorf("%w: keys of branch page %d", errMalformed, id))
			continue
		}
		k, child, _ := key(i)
		reference := pageReference{id: child, first: k, lostFrom: from}
		if i == 0 {
			k = within.from
		}
		from = k
		i++
		to := within.to
		for next := i; next < count; next++ {
			if good(next) {
				to, _, _ = key(next)
				break
			}
		}
		// The child is loaded into the buffer of the next depth, so page stays.
		f.node(reference, keyRange{k, to}, depth+1, v)
	}
}

// leaf visits the entries of a leaf page with the given flags. bbolt writes keys and values one behind the other right
// after the table, so any number in the table that lost a bit shows.
func (f *pageFile) leaf(page []byte, within keyRange, flags uint32, v visit) {
	lose := func(from, to []byte, cause error) {
		f.lose(keyRange{from, to}, cause)
	}
	if len(page) < pageHeaderLen {
		lose(within.from, within.to, fmt.Errorf("%w: leaf of %d bytes", errMalformed, len(page)))
		return
	}
	id := binary.LittleEndian.Uint64(page)
	count := int(binary.LittleEndian.Uint16(page[10:]))
	if binary.LittleEndian.Uint16(page[8:]) != leafFlag {
		lose(within.from, within.to, fmt.Errorf("%w: page %d is not a leaf", errMalformed, id))
		return
	}
	if count == 0 {
		// bbolt takes an empty page out of the tree, and the bucket always holds the format version.
		lose(within.from, within.to, fmt.Errorf("%w: leaf page %d is empty", errMalformed, id))
		return
	}
	// The first entry's data begin where the table ends: a second witness of the count.
	if len(page) >= pageHeaderLen+16 {
		if n := int(binary.LittleEndian.Uint32(page[pageHeaderLen+4:])); n != count*16 {
			lose(within.from, within.to, fmt.Errorf("%w: count of leaf page %d", errMalformed, id))
			if n%16 == 0 && n/16 > count && pageHeaderLen+n <= len(page) {
				count = n / 16
			}
		}
	}
	type element struct{ key, value []byte }
	at := func(i int) (e element, ok bool) {
		offset := pageHeaderLen + i*16
		if offset+16 > len(page) {
			return e, false
		}
		from := uint64(offset) + uint64(binary.LittleEndian.Uint32(page[offset+4:]))
		mid := from + uint64(binary.LittleEndian.Uint32(page[offset+8:]))
		to := mid + uint64(binary.LittleEndian.Uint32(page[offset+12:]))
		if binary.LittleEndian.Uint32(page[offset:]) != flags || from < pageHeaderLen || mid <= from || to > uint64(len(page)) {
			return e, false
		}
		return element{page[from:mid:mid], page[mid:to:to]}, true
	}
	prev := within.from
	lostSince := false
	for i := range count {
		e, ok := at(i)
		if ok && (bytes.Compare(e.key, prev) < 0 || i > 0 && bytes.Equal(e.key, prev) ||
			within.to != nil && bytes.Compare(e.key, within.to) >= 0) {
			ok = false
		}
		if ok && v(e.key, e.value) == nil {
			if lostSince {
				lose(prev, e.key, fmt.Errorf("%w: entries of page %d", errMalformed, id))
				lostSince = false
			}
			prev = e.key
			continue
		}
		lostSince = true
	}
	if lostSince {
		lose(prev, within.to, fmt.Errorf("%w: entries of page %d", errMalformed, id))
	}
}

// orphans visits the entries of all leaf pages that no walk has seen: those below a branch page that is lost, and old
// versions of others. It changes nothing of what f knows.
func (f *pageFile) orphans(v visit) {
	walked := slices.Clone(f.seen)
	for id := uint64(2); id < f.pages; id++ {
		if f.wasSeen(id) {
			continue
		}
		scratch := pageFile{r: f.r, size: f.size, pageSize: f.pageSize, pages: f.pages, seen: walked, buffers: f.buffers}
		page, err := scratch.load(id, 0)
		if err == nil && binary.LittleEndian.Uint16(page[8:]) == leafFlag {
			scratch.leaf(page, keyRange{}, 0, v)
			scratch.leaf(page, keyRange{}, bucketFlag, func(_, value []byte) error {
				if len(value) > bucketHeaderLen && binary.LittleEndian.Uint64(value) == 0 {
					scratch.leaf(value[bucketHeaderLen:], keyRange{}, 0, v)
				}
				return nil
			})
		}
		f.buffers = scratch.buffers
		// A page whose overflow is wrong must not hide those behind it.
		copy(walked, f.seen)
	}
}

// guessPageSize returns the page size with which most pages know their own number, for a file whose meta pages are both
// gone.
func guessPageSize(r io.ReaderAt, size int64) int64 {
	best, most := int64(defaultPageSize), 0
	var header [pageHeaderLen]byte
	for pageSize := int64(minPageSize); pageSize <= maxPageSize; pageSize *= 2 {
		n := 0
		for id := int64(2); id < size/pageSize; id++ {
			if _, err := r.ReadAt(header[:], id*pageSize); err != nil {
				continue
			}
			flags := binary.LittleEndian.Uint16(header[8:])
			if binary.LittleEndian.Uint64(header[:]) == uint64(id) && (flags == branchFlag || flags == leafFlag) {
				n++
			}
		}
		if n > most {
			best, most = pageSize, n
		}
	}
	return best
}
