// Package slack posts to an incoming webhook of Slack, and to what speaks like it, and believes nothing but the text ok.
package slack
