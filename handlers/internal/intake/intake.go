// Package intake bounds what a stranger can cost before he has proven who he is: the time
// and memory of bodies on their way in, one by one and together. It also says whose
// address a post has, and remembers when signatures did not fit.
package intake

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A body's memory grows in these steps as its bytes arrive, not by what the client says
// is coming: silence holds 4 KiB. Most bodies end in the second, which is reused.
const (
	firstStep  = 4 << 10
	secondStep = 64 << 10
	thirdStep  = 1 << 20
	fourthStep = 8 << 20
)

// A body has this head start, then must have come at this rate.
const (
	bodyStart = 5 * time.Second
	bodyRate  = 64 << 10 // bytes a second
)

// budget is the memory for bodies in flight. Small ones have a share of their own.
type budget struct {
	small, large atomic.Int64 // bytes left
	buffers      sync.Pool    // of *[secondStep]byte
}

func newBudget(total int64) *budget {
	b := &budget{}
	b.small.Store(total / 4)
	b.large.Store(total - total/4)
	b.buffers.New = func() any { return new([secondStep]byte) }
	return b
}

func take(from *atomic.Int64, n int64) bool {
	if from.Add(-n) >= 0 {
		return true
	}
	from.Add(n)
	return false
}

// Body is one body on its way in.
type Body struct {
	budget *budget
	data   []byte
	pooled *[secondStep]byte
	share  *atomic.Int64 // what cap(data) was taken from
}

// Bytes is what has arrived, until [Body.Release].
func (b *Body) Bytes() []byte { return b.data }

// Release gives the memory back.
func (b *Body) Release() {
	if b.share != nil {
		b.share.Add(int64(cap(b.data)))
	}
	if b.pooled != nil {
		b.budget.buffers.Put(b.pooled)
	}
	*b = Body{budget: b.budget}
}

// grow makes room for more, up to most bytes in all; false when there is no memory.
func (b *Body) grow(most int64) bool {
	size, share := most, &b.budget.large
	for _, step := range []int64{firstStep, secondStep, thirdStep, fourthStep} {
		if int64(cap(b.data)) < step && (step < most || step <= secondStep) {
			size = step
			break
		}
	}
	if size <= secondStep {
		share = &b.budget.small
	}
	if !take(share, size) {
		return false
	}
	next := Body{budget: b.budget, share: share}
	if size == secondStep {
		next.pooled = b.budget.buffers.Get().(*[secondStep]byte)
		next.data = next.pooled[:0]
	} else {
		next.data = make([]byte, 0, size)
	}
	next.data = append(next.data, b.data...)
	b.Release()
	*b = next
	return true
}

// What Read can say beside [*http.MaxBytesError]; any other error means that the client
// has gone or does not speak HTTP.
var (
	ErrTooMany = errors.New("too many posts are being received")
	ErrMemory  = errors.New("too much is being received")
	ErrSlow    = errors.New("the body did not arrive in time")
)

// Intake reads bodies.
type Intake struct {
	budget  *budget
	time    time.Duration
	most    int64 // bodies at once
	reading atomic.Int64
}

// New returns an Intake that holds at most bytes for all bodies, gives each of them at
// most duration, and reads at most bodies of them at once.
func New(bytes int64, duration time.Duration, bodies int) *Intake {
	return &Intake{budget: newBudget(bytes), time: duration, most: int64(bodies)}
}

// Read takes the body of r, of at most limit bytes. The caller must release it, whatever
// the error.
func (in *Intake) Read(w http.ResponseWriter, r *http.Request, limit int64) (*Body, error) {
	b := &Body{budget: in.budget}
	defer in.reading.Add(-1)
	if in.reading.Add(1) > in.most {
		return b, ErrTooMany
	}
	most := limit + 1 // one more, to see the end
	if r.ContentLength >= 0 {
		most = min(most, r.ContentLength+1)
	}
	from := http.MaxBytesReader(w, r.Body, limit)
	control := http.NewResponseController(w)
	begun := time.Now()
	for {
		if len(b.data) == cap(b.data) && !b.grow(most) {
			return b, ErrMemory
		}
		// Recorders in tests have no deadlines; connections do.
		_ = control.SetReadDeadline(in.deadline(begun, len(b.data)))
		n, err := from.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		switch {
		case errors.Is(err, io.EOF):
			// Left in place it would end the request while it is worked on.
			_ = control.SetReadDeadline(time.Time{})
			return b, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return b, ErrSlow
		case err != nil:
			return b, err
		}
	}
}

func (in *Intake) deadline(begun time.Time, have int) time.Time {
	return begun.Add(min(in.time, bodyStart+time.Duration(have)*time.Second/bodyRate))
}
