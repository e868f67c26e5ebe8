package openai

import (
	"strconv"

	"tollgate/proxy/jsonscan"
)

// ModelCreated is the creation time that LiteLLM gives every model.
const ModelCreated = 1677610602

// AppendModel appends one entry of the model list.
func AppendModel(dst []byte, id string) []byte {
	dst = append(dst, `{"id":`...)
	dst = jsonscan.AppendQuoted(dst, id)
	dst = append(dst, `,"object":"model","created":`...)
	dst = strconv.AppendInt(dst, ModelCreated, 10)
	return append(dst, `,"owned_by":"openai"}`...)
}

// AppendModels appends the list of models under these names.
func AppendModels(dst []byte, ids []string) []byte {
	dst = append(dst, `{"data":[`...)
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendModel(dst, id)
	}
	return append(dst, `],"object":"list"}`...)
}
