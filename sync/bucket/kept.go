package bucket

import (
	"crypto/sha256"
	"time"

	"github.com/tradewind-dev/tradewind/sync/files"
)

// maxKept bounds the bytes of what is kept of all buckets.
const maxKept = 128 << 20

// place is a path in a bucket as one credential sees it.
type place struct {
	endpoint, bucket, path, region string
	keys                           [sha256.Size]byte
}

// kept is what was read of a place.
type kept struct {
	revision string
	etags    map[string]string // by key
	tree     *files.Tree
	used     time.Time
}

func (b *Buckets) known(at place) *kept {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.kept[at]
	if k != nil {
		k.used = time.Now()
	}
	return k
}

// keep makes room for k; what was not used for the longest time goes.
func (b *Buckets) keep(at place, k *kept) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k.used = time.Now()
	b.kept[at] = k
	for {
		var size int64
		oldest := at
		for p, other := range b.kept {
			size += other.tree.Size()
			if p != at && (oldest == at || other.used.Before(b.kept[oldest].used)) {
				oldest = p
			}
		}
		if size <= maxKept || oldest == at {
			return
		}
		delete(b.kept, oldest)
	}
}
