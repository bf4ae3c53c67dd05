// Package dingtalk posts to the custom robot of a DingTalk group, and believes the errcode in the answer.
//
// A signature carries the time of its attempt. Who is notified stands in the message's own list, never in an event's text.
package dingtalk
