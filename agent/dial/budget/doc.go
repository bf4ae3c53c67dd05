// Package budget keeps the accounts of the bytes that went over the link and says when to save.
//
// It promises:
//
//   - Bytes are counted for their receiver and in all, by local day and month.
//   - The counters survive a restart up to what Save returned last, and no jump of the clock, in either direction, empties
//     the counters of a day or month twice.
//   - Each budget gives one notice at 80 % and one at 100 % a period, also over restarts.
//   - The stored state is at most 4 KiB, for at most 32 receivers.
//
// Numbers are exact bytes, never rounded. 80 % means used*5 >= limit*4. A limit is looked at before a message, not within one, so
// what is used may exceed it by the messages under way and by those of severity critical. What is counted is up to package dial.
package budget
