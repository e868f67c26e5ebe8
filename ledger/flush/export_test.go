package flush

// JSONText and Text are what foreign bytes go through.
var (
	JSONText = jsonText
	Text     = text
)
