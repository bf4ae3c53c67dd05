// Package worktile posts to an incoming webhook of Worktile. Its answers are documented nowhere: a yes is a 2xx that is no page and holds no code
// but 0 and 200.
package worktile
