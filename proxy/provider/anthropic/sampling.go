package anthropic

import "strconv"

// planSampling leaves out what the model would answer with 400.
func (r *request) planSampling() {
	thinks := r.thinkingOn()
	if t := r.temperature; t != nil {
		f, err := strconv.ParseFloat(string(t), 64)
		switch {
		case err != nil: // not a number: the API says so better than we could
		case (thinks || !r.can.sampling) && f != 1:
			r.drop("temperature")
			r.temperature = nil
		case !r.can.sampling:
			r.temperature = nil
		case f > 1:
			r.temperature = []byte("1")
		}
	}
	if p := r.topP; p != nil {
		f, err := strconv.ParseFloat(string(p), 64)
		switch {
		case err != nil:
		case f == 1 && r.temperature != nil:
			r.topP = nil // says nothing, and some models refuse the pair
		case !r.can.sampling && f < 0.99 || thinks && f < 0.95:
			r.drop("top_p")
			r.topP = nil
		}
	}
	if r.topK != nil && (!r.can.sampling || thinks) {
		r.drop("top_k")
		r.topK = nil
	}
}
