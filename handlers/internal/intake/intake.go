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

// A body is kept in pieces, which are used again: memory that grew as one would leave
// twice as much behind for the garbage collector, and be paid for by a header's word.
// The first one is small, because silence should hold little, and gives way to a second
// of full size, in which most bodies end.
const (
	firstPiece = 4 << 10
	pieceSize  = 64 << 10
)

// A body has this head start, then must have come at this rate.
const (
	bodyStart = 5 * time.Second
	bodyRate  = 64 << 10 // bytes a second
)

// What Read can say beside [*http.MaxBytesError]; any other error means that the client
// has gone or does not speak HTTP.
var (
	ErrTooMany = errors.New("too many posts are being received")
	ErrMemory  = errors.New("too much is being received")
	ErrSlow    = errors.New("the body did not arrive in time")
)

// Intake reads bodies.
type Intake struct {
	time         time.Duration
	most         int64 // bodies at once
	reading      atomic.Int64
	small, large atomic.Int64 // bytes left for the first piece of bodies, and for the rest
	pieces       sync.Pool    // of *[pieceSize]byte
}

// New returns an Intake that holds at most bytes for all bodies, gives each of them at
// most duration, and reads at most bodies of them at once. A quarter of the memory is for
// the beginnings of bodies, so that big ones do not keep small ones out.
func New(bytes int64, duration time.Duration, bodies int) *Intake {
	in := &Intake{time: duration, most: int64(bodies)}
	in.small.Store(bytes / 4)
	in.large.Store(bytes - bytes/4)
	in.pieces.New = func() any { return new([pieceSize]byte) }
	return in
}

// Body is one body on its way in.
type Body struct {
	in           *Intake
	pieces       [][]byte // all but the last are full
	pooled       []*[pieceSize]byte
	size         int
	small, large int64 // taken from in
}

// Pieces are what has arrived, until [Body.Release].
func (b *Body) Pieces() [][]byte { return b.pieces }

// Len is the number of bytes that have arrived.
func (b *Body) Len() int { return b.size }

// Whole is the body in one, until [Body.Release]. The error is [ErrMemory].
func (b *Body) Whole() ([]byte, error) {
	if len(b.pieces) > 1 {
		if !b.takeLarge(int64(b.size)) {
			return nil, ErrMemory
		}
		whole := make([]byte, 0, b.size)
		for _, p := range b.pieces {
			whole = append(whole, p...)
		}
		b.pieces = [][]byte{whole}
	}
	if len(b.pieces) == 0 {
		return nil, nil
	}
	return b.pieces[0], nil
}

// Release gives the memory back.
func (b *Body) Release() {
	for _, p := range b.pooled {
		b.in.pieces.Put(p)
	}
	b.in.small.Add(b.small)
	b.in.large.Add(b.large)
	*b = Body{in: b.in, size: b.size}
}

func take(from *atomic.Int64, n int64) bool {
	if from.Add(-n) >= 0 {
		return true
	}
	from.Add(n)
	return false
}

func (b *Body) takeSmall(n int64) bool {
	ok := take(&b.in.small, n)
	if ok {
		b.small += n
	}
	return ok
}

func (b *Body) takeLarge(n int64) bool {
	ok := take(&b.in.large, n)
	if ok {
		b.large += n
	}
	return ok
}

// room is where the next bytes go; none when there is no memory.
func (b *Body) room() []byte {
	last := len(b.pieces) - 1
	switch {
	case last < 0:
		if b.takeSmall(firstPiece) {
			b.pieces = append(b.pieces, make([]byte, 0, firstPiece))
		}
	case len(b.pieces[last]) < cap(b.pieces[last]):
	case cap(b.pieces[last]) == firstPiece:
		if b.takeSmall(pieceSize - firstPiece) {
			b.pieces[last] = append(b.piece(), b.pieces[last]...)
		}
	default:
		if b.takeLarge(pieceSize) {
			b.pieces = append(b.pieces, b.piece())
		}
	}
	if len(b.pieces) == 0 {
		return nil
	}
	p := b.pieces[len(b.pieces)-1]
	return p[len(p):cap(p)]
}

func (b *Body) piece() []byte {
	p := b.in.pieces.Get().(*[pieceSize]byte)
	b.pooled = append(b.pooled, p)
	return p[:0]
}

// add counts n bytes that were put into [Body.room].
func (b *Body) add(n int) {
	last := len(b.pieces) - 1
	b.pieces[last] = b.pieces[last][:len(b.pieces[last])+n]
	b.size += n
}

// Read takes the body of r, of at most limit bytes. The caller must release it, whatever
// the error.
func (in *Intake) Read(w http.ResponseWriter, r *http.Request, limit int64) (*Body, error) {
	b := &Body{in: in}
	defer in.reading.Add(-1)
	if in.reading.Add(1) > in.most {
		return b, ErrTooMany
	}
	from := http.MaxBytesReader(w, r.Body, limit)
	control := http.NewResponseController(w)
	begun := time.Now()
	for {
		room := b.room()
		if len(room) == 0 {
			return b, ErrMemory
		}
		// Recorders in tests have no deadlines; connections do.
		_ = control.SetReadDeadline(in.deadline(begun, b.size))
		n, err := from.Read(room)
		b.add(n)
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
