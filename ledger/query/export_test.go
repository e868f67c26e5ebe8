package query

import "time"

// LogSQL is the statement for a page of rows.
func LogSQL(f *Filter, cursor string) (string, []any) {
	after, err := readPostgresCursor(cursor)
	if err != nil {
		panic(err)
	}
	return logSQL(f, after, f.limit(), 0)
}

// GroupSQL is the statement for sums.
func GroupSQL(by []Dimension, r *Range) (string, []any, error) {
	dim, err := family(by, r)
	if err != nil {
		return "", nil, err
	}
	return groupSQL(by, r, dim)
}

// PostgresCursor makes a cursor.
func PostgresCursor(start time.Time, id string) string { return (&pgCursor{start, id}).String() }

// ReadPostgresCursor reads one.
func ReadPostgresCursor(s string) (time.Time, string, error) {
	c, err := readPostgresCursor(s)
	if c == nil {
		return time.Time{}, "", err
	}
	return c.start, c.id, err
}
