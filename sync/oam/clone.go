package oam

import "reflect"

// DeepCopy returns a copy that shares nothing with app.
func (app *Application) DeepCopy() *Application { return clone(app) }

// DeepCopy returns a copy that shares nothing with s.
func (s *Status) DeepCopy() *Status { return clone(s) }

// DeepCopy returns a copy that shares nothing with w.
func (w *WorkflowStatus) DeepCopy() *WorkflowStatus { return clone(w) }

func clone[T any](from *T) *T {
	if from == nil {
		return nil
	}
	out := new(T)
	*out = *from
	unshare(reflect.ValueOf(out).Elem())
	return out
}

// unshare replaces, below v, everything that an assignment shares. There are no cycles:
// these are documents. Times keep their zone, which nobody changes.
func unshare(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		target := reflect.New(v.Type().Elem())
		target.Elem().Set(v.Elem())
		unshare(target.Elem())
		v.Set(target)
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		value := reflect.New(v.Elem().Type()).Elem()
		value.Set(v.Elem())
		unshare(value)
		v.Set(value)
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				unshare(field)
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		items := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(items, v)
		for i := range items.Len() {
			unshare(items.Index(i))
		}
		v.Set(items)
	case reflect.Map:
		if v.IsNil() {
			return
		}
		entries := reflect.MakeMapWithSize(v.Type(), v.Len())
		for each := v.MapRange(); each.Next(); {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(each.Value())
			unshare(value)
			entries.SetMapIndex(each.Key(), value)
		}
		v.Set(entries)
	default: // numbers, strings, booleans
	}
}
