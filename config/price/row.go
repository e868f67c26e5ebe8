package price

// Row and Book are completed by the price room.
type Row struct{}

// Book is the set of prices known.
type Book struct{}
