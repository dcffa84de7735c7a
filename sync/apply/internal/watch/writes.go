package watch

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Writing announces a write of an object, so that its echo is known for what it is even
// when it arrives before the answer. Every call needs one of Wrote, Deleted or Stopped.
func (w *Watch[T]) Writing(namespace, name string) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing[key] == nil {
		w.writing[key] = &held[T]{}
	}
	w.writing[key].writers++
}

// Wrote remembers what a write returned, until the watch brings it or something newer.
func (w *Watch[T]) Wrote(o *unstructured.Unstructured) T {
	kept := w.config.Keep(o)
	key := keyOf(kept)
	w.end(key, &ownWrite[T]{object: kept, version: version(kept), at: time.Now()})
	return kept
}

// Deleted remembers that an object was deleted at the version of the given copy.
func (w *Watch[T]) Deleted(last metav1.Object) {
	// One above: the copy itself no longer counts.
	w.end(keyOf(last), &ownWrite[T]{version: version(last) + 1, gone: true, at: time.Now()})
}

// Stopped says that an announced write came to nothing.
func (w *Watch[T]) Stopped(namespace, name string) {
	w.end(types.NamespacedName{Namespace: namespace, Name: name}, nil)
}

// end closes one announced write and tells what was held back for it.
func (w *Watch[T]) end(key types.NamespacedName, own *ownWrite[T]) {
	w.mu.Lock()
	if own != nil && own.version > w.own[key].version {
		w.own[key] = *own
		w.tellWaiters()
	}
	h := w.writing[key]
	if h != nil {
		h.writers--
	}
	if h == nil || h.writers > 0 {
		w.mu.Unlock()
		return
	}
	delete(w.writing, key)
	if !h.any {
		w.mu.Unlock()
		return
	}
	echo := w.recognise(key, h.before, h.after) || h.echo
	w.mu.Unlock()
	w.tell(h.before, h.after, echo)
}

// changed takes what the watch brings.
func (w *Watch[T]) changed(before, after T, first bool) {
	some := after
	if isNone(after) {
		some = before
	}
	key := keyOf(some)
	w.mu.Lock()
	w.failure = nil
	w.tellWaiters()
	echo := w.recognise(key, before, after)
	h := w.writing[key]
	switch {
	case first && w.config.SkipFirst:
	case h != nil:
		if !h.any || isNone(after) { // of one that came and went there is only the end
			h.before = before
		}
		h.echo = echo && (h.echo || !h.any)
		h.any, h.after = true, after
	default:
		w.mu.Unlock()
		w.tell(before, after, echo)
		return
	}
	w.mu.Unlock()
}

// recognise says whether a change is the echo of our own write, or older than it, and
// forgets the write when the watch has come that far. It needs mu.
func (w *Watch[T]) recognise(key types.NamespacedName, before, after T) bool {
	own, wrote := w.own[key]
	if !wrote {
		return false
	}
	if isNone(after) {
		// The last state that the watch shows of an object is the one before its delete.
		if own.gone || version(before) >= own.version {
			delete(w.own, key)
		}
		return own.gone
	}
	v := version(after)
	if v >= own.version {
		delete(w.own, key)
	}
	return v < own.version || v == own.version && !own.gone
}

func isNone[T metav1.Object](o T) bool {
	var none T
	return any(o) == any(none)
}

func (w *Watch[T]) tell(before, after T, own bool) {
	if w.config.Changed != nil {
		w.config.Changed(before, after, own)
	}
}
