package spool

import (
	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/ledger"
	"github.com/edge-eventer/edge-eventer/spool/queue"
	"github.com/edge-eventer/edge-eventer/spool/rebuild"
	"github.com/edge-eventer/edge-eventer/spool/table"
)

// What the parts of the spool are called where it is used.
type (
	// Queue is the queue of one receiver.
	Queue = queue.Queue
	// Record is one record of a queue.
	Record = queue.Record
	// DeadLetter is a record that its receiver refused for good.
	DeadLetter = queue.DeadLetter
	// Loss is what one receiver was not and will not be told, except by telling of the loss.
	Loss = queue.Loss
	// EventID names an event of the ledger, EventKey is its key there.
	EventID = ledger.EventID
	// EventKey is the key of an event in the ledger.
	EventKey = format.EventKey
	// Taken is the version of an event that was taken.
	Taken = format.Taken
	// Scope is what the spool keeps of one scope.
	Scope = table.Scope
	// Rescue says what was saved of a damaged file.
	Rescue = rebuild.Rescue
)

// LeastBody is the length of a body that every spool has room for in each of its queues, in bytes.
const LeastBody = queue.LeastBody

// Causes of a loss.
const (
	Evicted     = queue.Evicted     // the file was full
	Expired     = queue.Expired     // older than MaxAge
	Refused     = queue.Refused     // the receiver refused the message for good
	Damaged     = queue.Damaged     // the file was damaged and the record could not be read
	Unseen      = queue.Unseen      // nobody watched for longer than events live
	Undecodable = queue.Undecodable // it was shown and could not be read
)

// Errors that Open, Look, Update and View, and the methods of Tx and Queue, return wrapped, for errors.Is.
var (
	// ErrLocked is returned by Open when another process, or another Spool of this one, has the file open.
	ErrLocked = failure.ErrLocked
	// ErrVersion is returned by Open when the file has a format that only a newer version can read. The file is left as
	// it is.
	ErrVersion = failure.ErrVersion
	// ErrNoSpace is returned when the disk or the quota is full, and when one transaction is larger than the room that
	// MaxBytes leaves. In the latter case old records were evicted, so that the same transaction fits when tried again.
	ErrNoSpace = failure.ErrNoSpace
	// ErrReadOnly is returned when the file system is read-only.
	ErrReadOnly = failure.ErrReadOnly
	// ErrPermission is returned when the process may not read or write the file, its lock file or their directory.
	ErrPermission = failure.ErrPermission
	// ErrDamaged is returned when a page of the open file turns out to be unreadable. The next Update or View rescues
	// what can be read and goes on with a new file.
	ErrDamaged = failure.ErrDamaged
	// ErrClosed is returned by Update and View after Close.
	ErrClosed = failure.ErrClosed
	// ErrTooLarge is returned when a key, a body, a name or a value is outside its documented limits.
	ErrTooLarge = failure.ErrTooLarge
	// ErrNotFound is returned when no record or dead letter has the key.
	ErrNotFound = failure.ErrNotFound
	// ErrWaiting is returned by Revive when a record of the same key waits in the queue.
	ErrWaiting = failure.ErrWaiting
	// ErrNotWritable is returned by a change inside View.
	ErrNotWritable = failure.ErrNotWritable
)
