// Package record encodes incidents for machines: as the documented JSON of webhook, one by one or in a batch, as CloudEvents, and in the
// shapes of kube-eventer and eventrouter, so that their consumers read on.
//
// A record never exceeds the size that it is given: the message of the event is cut, with a mark of how much is missing, and only if
// there is none left the other texts. Events have the field names of core/v1.
package record
