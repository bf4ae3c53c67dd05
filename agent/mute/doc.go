// Package mute decides for one receiver which incidents are held back now: as a consequence of another one, because the receiver's
// time intervals say that it is muted, or by a silence.
//
// What is held back stays in the receiver's queue, is counted there, and is sent when nothing holds it any more. Critical incidents are never held
// by a time interval unless the receiver says so, and never by a silence that does not say so itself.
package mute
