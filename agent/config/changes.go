package config

import (
	"context"
	"os"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/retry"
)

// lookInterval is how often the configuration's file is looked at. One stat(2) costs no traffic and no disk access, and sees
// through the symlinks by which the kubelet swaps a ConfigMap. inotify would have to follow those itself, and misses
// changes on network file systems.
const lookInterval = 15 * time.Second

// Changes calls changed when the file at path has changed and then stays the same for lookInterval: a file that is being written would be
// read half, and its last receivers be missed. It returns when ctx ends.
func Changes(ctx context.Context, path string, changed func()) {
	loaded := lookAt(path)
	before := loaded
	for retry.Wait(ctx, lookInterval) == nil {
		now := lookAt(path)
		settled := now == before
		before = now
		if !settled || now == loaded || now == (fileState{}) {
			continue
		}
		loaded = now
		// A bad file is not read again until it changes.
		changed()
	}
}

// fileState tells one content of a file from another. The zero value is that of a file that cannot be seen.
type fileState struct {
	modified int64
	size     int64
	inode    uint64
}

func lookAt(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}
	}
	return fileState{modified: info.ModTime().UnixNano(), size: info.Size(), inode: inode(info)}
}
