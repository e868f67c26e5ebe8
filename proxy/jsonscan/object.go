package jsonscan

// Object is the index of one JSON object.
type Object struct{}
