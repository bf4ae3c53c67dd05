package storm

import (
	"cmp"
	"slices"
)

// Item is an incident that may be named.
type Item[T any] struct {
	Value T
	// Namespace and Workload are of whom it is the news.
	Namespace, Workload string
	// Critical ones go before all others.
	Critical bool
}

// Choice keeps those of many that are to be named, most of them. Before goes in the order of worst and newest.
type Choice[T any] struct {
	Most   int
	Before func(a, b T) bool

	items      []Item[T]
	namespaces map[key]int
	workloads  map[key]int
}

// key is of a group of items; workload is empty where it is a namespace's.
type key struct {
	critical            bool
	namespace, workload string
}

func (i *Item[T]) keys() (namespace, workload key) {
	return key{i.Critical, i.Namespace, ""}, key{i.Critical, i.Namespace, i.Workload}
}

// Add takes an item. Where there are too many it returns the one that is not to be named: the least of the workload with the most items in the
// namespace with the most, and of what is critical only if all is.
func (c *Choice[T]) Add(i Item[T]) (out T, dropped bool) {
	if c.namespaces == nil {
		c.namespaces, c.workloads = make(map[key]int), make(map[key]int)
	}
	c.items = append(c.items, i)
	c.count(&i, 1)
	if len(c.items) <= c.Most {
		return out, false
	}
	least := 0
	for at := range c.items {
		if c.goesBefore(&c.items[at], &c.items[least]) {
			least = at
		}
	}
	last := len(c.items) - 1
	gone := c.items[least]
	c.items[least] = c.items[last]
	c.items = c.items[:last]
	c.count(&gone, -1)
	return gone.Value, true
}

func (c *Choice[T]) count(i *Item[T], n int) {
	namespace, workload := i.keys()
	c.namespaces[namespace] += n
	c.workloads[workload] += n
	if c.namespaces[namespace] == 0 {
		delete(c.namespaces, namespace)
	}
	if c.workloads[workload] == 0 {
		delete(c.workloads, workload)
	}
}

// goesBefore reports whether a is given up before b.
func (c *Choice[T]) goesBefore(a, b *Item[T]) bool {
	if a.Critical != b.Critical {
		return b.Critical
	}
	namespaceA, workloadA := a.keys()
	namespaceB, workloadB := b.keys()
	if namespaceA != namespaceB {
		if n, m := c.namespaces[namespaceA], c.namespaces[namespaceB]; n != m {
			return n > m
		}
	} else if n, m := c.workloads[workloadA], c.workloads[workloadB]; workloadA != workloadB && n != m {
		return n > m
	}
	return c.Before(b.Value, a.Value)
}

// Ordered returns what was kept: what is critical first, then the worst and newest of each namespace in turn, so that a message that has no
// room for all of it still names something of each.
func (c *Choice[T]) Ordered() []T {
	slices.SortStableFunc(c.items, func(a, b Item[T]) int {
		switch {
		case a.Critical != b.Critical && a.Critical, a.Critical == b.Critical && c.Before(a.Value, b.Value):
			return -1
		case a.Critical != b.Critical, c.Before(b.Value, a.Value):
			return 1
		}
		return 0
	})
	inWorkload, inNamespace := make(map[key]int), make(map[key]int)
	c.inTurn(func(i *Item[T]) int {
		_, workload := i.keys()
		inWorkload[workload]++
		return inWorkload[workload]
	})
	c.inTurn(func(i *Item[T]) int {
		namespace, _ := i.keys()
		inNamespace[namespace]++
		return inNamespace[namespace]
	})
	values := make([]T, len(c.items))
	for i := range c.items {
		values[i] = c.items[i].Value
	}
	return values
}

// inTurn puts the items that are not critical into the order of their turns, which next is asked for one by one.
func (c *Choice[T]) inTurn(next func(*Item[T]) int) {
	type turn struct {
		item Item[T]
		at   int
	}
	turns := make([]turn, len(c.items))
	for i := range c.items {
		turns[i].item = c.items[i]
		if !c.items[i].Critical {
			turns[i].at = next(&c.items[i])
		}
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	for i := range turns {
		c.items[i] = turns[i].item
	}
}
