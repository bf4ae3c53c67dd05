// Package wecom posts to the group robot of a WeCom group, and believes the errcode in the answer.
//
// The key in the URL is the only credential: the platform has no signatures.
package wecom
