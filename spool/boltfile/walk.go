package boltfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Visit is called with each entry. The slices are valid during the call. An error means that the entry is damaged.
type Visit func(key, value []byte) error

// Walk visits all entries of the bucket that can be reached from m, in the order of their keys.
func (f *File) Walk(m Meta, v Visit) {
	root, err := f.load(m.Root, 0)
	if err != nil {
		f.Lose(Range{}, fmt.Errorf("root: %w", err))
		return
	}
	// Copied because what it holds may be a whole inline page.
	root = bytes.Clone(root)
	found := false
	f.leaf(root, Range{}, bucketFlag, func(name, value []byte) error {
		if string(name) != f.bucket || len(value) < bucketHeaderLen {
			return fmt.Errorf("%w: bucket %q", ErrMalformed, name)
		}
		found = true
		if id := binary.LittleEndian.Uint64(value); id != 0 {
			f.node(pageReference{id: id}, Range{}, 1, v)
		} else {
			f.leaf(value[bucketHeaderLen:], Range{}, 0, v)
		}
		return nil
	})
	if !found {
		f.Lose(Range{}, fmt.Errorf("%w: no bucket %q", ErrMalformed, f.bucket))
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
func (f *File) node(r pageReference, within Range, depth int, v Visit) {
	page, err := f.load(r.id, depth)
	if err != nil {
		f.Lose(within, err)
		return
	}
	isLeaf := binary.LittleEndian.Uint16(page[8:]) == LeafFlag
	if key := FirstKey(page); r.first != nil && !bytes.Equal(key, r.first) {
		f.unload(page)
		f.Lose(Range{r.lostFrom, within.To}, fmt.Errorf("%w: page %d does not begin with the key that leads to it", ErrMalformed, r.id))
		return
	}
	if isLeaf {
		f.leaf(page, within, 0, v)
		return
	}
	f.branch(page, within, depth, v)
}

// FirstKey returns the first key of a branch or leaf page, or nil if it has none.
func FirstKey(page []byte) []byte {
	at := PageHeaderLen
	if binary.LittleEndian.Uint16(page[8:]) == LeafFlag {
		at += 4
	}
	if binary.LittleEndian.Uint16(page[10:]) == 0 {
		return nil
	}
	from := uint64(PageHeaderLen) + uint64(binary.LittleEndian.Uint32(page[at:]))
	to := from + uint64(binary.LittleEndian.Uint32(page[at+4:]))
	if to > uint64(len(page)) {
		return nil
	}
	return page[from:to]
}

// branchPage is a branch page and the range that its keys must keep to.
type branchPage struct {
	page   []byte
	count  int
	within Range
}

// child returns the key and the page number of child i, unless they point out of the page.
func (b *branchPage) child(i int) (key []byte, id uint64, ok bool) {
	at := PageHeaderLen + i*16
	if i < 0 || at+16 > len(b.page) {
		return nil, 0, false
	}
	from := uint64(at) + uint64(binary.LittleEndian.Uint32(b.page[at:]))
	to := from + uint64(binary.LittleEndian.Uint32(b.page[at+4:]))
	if from < uint64(PageHeaderLen+b.count*16) || to <= from || to > uint64(len(b.page)) {
		return nil, 0, false
	}
	return b.page[from:to], binary.LittleEndian.Uint64(b.page[at+8:]), true
}

// good says whether the key of child i fits both of its neighbours: one that lost a bit may look like the neighbour of its neighbours'
// neighbours.
func (b *branchPage) good(i int) bool {
	k, _, ok := b.child(i)
	if !ok || bytes.Compare(k, b.within.From) < 0 || b.within.To != nil && bytes.Compare(k, b.within.To) >= 0 {
		return false
	}
	if before, _, ok := b.child(i - 1); i > 0 && (!ok || bytes.Compare(before, k) >= 0) {
		return false
	}
	next, _, ok := b.child(i + 1)
	return i+1 == b.count || ok && bytes.Compare(k, next) < 0
}

// nextGood returns the first child from i on whose key fits, with its key; count and the end of the range if there is none.
func (b *branchPage) nextGood(i int) (next int, key []byte) {
	for ; i < b.count; i++ {
		if b.good(i) {
			key, _, _ = b.child(i)
			return i, key
		}
	}
	return b.count, b.within.To
}

// branch visits the children of a branch page. Each must keep to the range between its key and the next. Only one whose key is good
// is followed: what is lost begins at the last key before that is good, and ends at the next.
func (f *File) branch(page []byte, within Range, depth int, v Visit) {
	id := binary.LittleEndian.Uint64(page)
	b := branchPage{page: page, count: int(binary.LittleEndian.Uint16(page[10:])), within: within}
	if b.count == 0 {
		f.Lose(within, fmt.Errorf("%w: branch page %d is empty", ErrMalformed, id))
		return
	}
	// The first key lies right behind the table: a second witness of the count.
	if int(binary.LittleEndian.Uint32(page[PageHeaderLen:])) != b.count*16 {
		f.Lose(within, fmt.Errorf("%w: count of branch page %d", ErrMalformed, id))
	}
	from := within.From
	for i := 0; i < b.count; {
		if !b.good(i) {
			var to []byte
			i, to = b.nextGood(i + 1)
			f.Lose(Range{from, to}, fmt.Errorf("%w: keys of branch page %d", ErrMalformed, id))
			continue
		}
		k, child, _ := b.child(i)
		reference := pageReference{id: child, first: k, lostFrom: from}
		if i == 0 {
			k = within.From
		}
		from = k
		i++
		_, to := b.nextGood(i)
		// The child is loaded into the buffer of the next depth, so page stays.
		f.node(reference, Range{k, to}, depth+1, v)
	}
}

// leafEntry returns entry i of a leaf whose entries have the given flags, unless its table lost a bit.
func leafEntry(page []byte, i int, flags uint32) (key, value []byte, ok bool) {
	offset := PageHeaderLen + i*ElementLen
	if offset+ElementLen > len(page) {
		return nil, nil, false
	}
	from := uint64(offset) + uint64(binary.LittleEndian.Uint32(page[offset+4:]))
	mid := from + uint64(binary.LittleEndian.Uint32(page[offset+8:]))
	to := mid + uint64(binary.LittleEndian.Uint32(page[offset+12:]))
	if binary.LittleEndian.Uint32(page[offset:]) != flags || from < PageHeaderLen || mid <= from || to > uint64(len(page)) {
		return nil, nil, false
	}
	return page[from:mid:mid], page[mid:to:to], true
}

// leafCount returns how many entries to look for in a leaf: 0 where there is nothing to be read.
func (f *File) leafCount(page []byte, within Range) int {
	if len(page) < PageHeaderLen {
		f.Lose(within, fmt.Errorf("%w: leaf of %d bytes", ErrMalformed, len(page)))
		return 0
	}
	id := binary.LittleEndian.Uint64(page)
	count := int(binary.LittleEndian.Uint16(page[10:]))
	if binary.LittleEndian.Uint16(page[8:]) != LeafFlag {
		f.Lose(within, fmt.Errorf("%w: page %d is not a leaf", ErrMalformed, id))
		return 0
	}
	if count == 0 {
		// bbolt takes an empty page out of the tree, and the bucket always holds the format version.
		f.Lose(within, fmt.Errorf("%w: leaf page %d is empty", ErrMalformed, id))
		return 0
	}
	// The first entry's data begin where the table ends: a second witness of the count.
	if len(page) >= PageHeaderLen+ElementLen {
		if n := int(binary.LittleEndian.Uint32(page[PageHeaderLen+4:])); n != count*ElementLen {
			f.Lose(within, fmt.Errorf("%w: count of leaf page %d", ErrMalformed, id))
			if n%ElementLen == 0 && n/ElementLen > count && PageHeaderLen+n <= len(page) {
				count = n / ElementLen
			}
		}
	}
	return count
}

// leaf visits the entries of a leaf page with the given flags. bbolt writes keys and values one behind the other right
// after the table, so any number in the table that lost a bit shows.
func (f *File) leaf(page []byte, within Range, flags uint32, v Visit) {
	prev := within.From
	lostSince := false
	for i := range f.leafCount(page, within) {
		key, value, ok := leafEntry(page, i, flags)
		if ok && (bytes.Compare(key, prev) < 0 || i > 0 && bytes.Equal(key, prev) ||
			within.To != nil && bytes.Compare(key, within.To) >= 0) {
			ok = false
		}
		if !ok || v(key, value) != nil {
			lostSince = true
			continue
		}
		if lostSince {
			f.Lose(Range{prev, key}, fmt.Errorf("%w: entries of page %d", ErrMalformed, binary.LittleEndian.Uint64(page)))
			lostSince = false
		}
		prev = key
	}
	if lostSince {
		f.Lose(Range{prev, within.To}, fmt.Errorf("%w: entries of page %d", ErrMalformed, binary.LittleEndian.Uint64(page)))
	}
}

// Orphans visits the entries of all leaf pages that no walk has seen: those below a branch page that is lost, and old
// versions of others. It changes nothing of what f knows.
func (f *File) Orphans(v Visit) {
	walked := slices.Clone(f.seen)
	for id := uint64(2); id < f.pages; id++ {
		if f.WasSeen(id) {
			continue
		}
		scratch := File{r: f.r, size: f.size, pageSize: f.pageSize, pages: f.pages, seen: walked, buffers: f.buffers}
		page, err := scratch.load(id, 0)
		if err == nil && binary.LittleEndian.Uint16(page[8:]) == LeafFlag {
			scratch.leaf(page, Range{}, 0, v)
			scratch.leaf(page, Range{}, bucketFlag, func(_, value []byte) error {
				if len(value) > bucketHeaderLen && binary.LittleEndian.Uint64(value) == 0 {
					scratch.leaf(value[bucketHeaderLen:], Range{}, 0, v)
				}
				return nil
			})
		}
		f.buffers = scratch.buffers
		// A page whose overflow is wrong must not hide those behind it.
		copy(walked, f.seen)
	}
}

// Dense walks the tree of m and returns how many bytes its pages would take, to a few pages, were each leaf filled up to the given part.
func (f *File) Dense(m Meta, fill float64) int64 {
	full := int64(float64(f.pageSize) * fill)
	var leaves, page, entries int64
	f.Walk(m, func(key, value []byte) error {
		size := int64(ElementLen + len(key) + len(value))
		// bbolt puts two entries on a page at least, however long it becomes.
		if entries >= 2 && page+size > full {
			leaves += (page + f.pageSize - 1) / f.pageSize
			page, entries = 0, 0
		}
		if entries == 0 {
			page = PageHeaderLen
		}
		page += size
		entries++
		return nil
	})
	leaves += (page + f.pageSize - 1) / f.pageSize
	// Two meta pages, the root, and a branch for some fifty leaves.
	return (leaves + leaves/50 + 4) * f.pageSize
}
