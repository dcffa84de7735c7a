package handlers

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

// body is one body on its way in.
type body struct {
	budget *budget
	data   []byte
	pooled *[secondStep]byte
	share  *atomic.Int64 // what cap(data) was taken from
}

// release gives the memory back; data must not be used any more.
func (b *body) release() {
	if b.share != nil {
		b.share.Add(int64(cap(b.data)))
	}
	if b.pooled != nil {
		b.budget.buffers.Put(b.pooled)
	}
	*b = body{budget: b.budget}
}

// grow makes room for more, up to most bytes in all; false when there is no memory.
func (b *body) grow(most int64) bool {
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
	next := body{budget: b.budget, share: share}
	if size == secondStep {
		next.pooled = b.budget.buffers.Get().(*[secondStep]byte)
		next.data = next.pooled[:0]
	} else {
		next.data = make([]byte, 0, size)
	}
	next.data = append(next.data, b.data...)
	b.release()
	*b = next
	return true
}

// read takes a body of at most limit bytes. The caller must release it, whatever is
// returned.
func (g *Gateway) read(w http.ResponseWriter, r *http.Request, limit int64) (*body, *answer) {
	b := &body{budget: g.bodies}
	if g.reading.Add(1) > int64(g.limits.Reading) {
		g.reading.Add(-1)
		return b, busy("too many posts are being received")
	}
	defer g.reading.Add(-1)
	most := limit + 1 // one more, to see the end
	if r.ContentLength >= 0 {
		most = min(most, r.ContentLength+1)
	}
	in := http.MaxBytesReader(w, r.Body, limit)
	control := http.NewResponseController(w)
	begun := g.now()
	for {
		if len(b.data) == cap(b.data) && !b.grow(most) {
			return b, busy("too much is being received")
		}
		// Recorders in tests have no deadlines; connections do.
		_ = control.SetReadDeadline(g.bodyDeadline(begun, len(b.data)))
		n, err := in.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		if errors.Is(err, io.EOF) {
			// Left in place it would end the request while it is worked on.
			_ = control.SetReadDeadline(time.Time{})
			return b, nil
		}
		if err != nil {
			return b, readError(err, limit)
		}
	}
}

func (g *Gateway) bodyDeadline(begun time.Time, have int) time.Time {
	return begun.Add(min(g.limits.BodyTime, bodyStart+time.Duration(have)*time.Second/bodyRate))
}

func readError(err error, limit int64) *answer {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(limit)
	}
	var a *answer
	if errors.Is(err, os.ErrDeadlineExceeded) {
		a = refuse(http.StatusRequestTimeout, malformed, "the body did not arrive in time", "")
	} else {
		a = refuse(http.StatusBadRequest, malformed, "the body did not arrive whole", "")
		a.gone = true
	}
	a.close, a.err = true, err
	return a
}
