package openai

// sampling are the fields that reasoning models fix.
var sampling = []string{"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias"}

// hints are OpenAI's own fields that change no answer: others refuse requests
// that hold them.
var hints = []string{"store", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "safety_identifier", "moderation"}

// oldLimit is for providers that know max_tokens only.
var oldLimit = map[string]string{"max_completion_tokens": "max_tokens"}

// openAIModels are OpenAI's model families that differ from the first ones.
var openAIModels = []ModelRule{
	{Prefix: "o1", CompletionTokens: true, Fixed: sampling},
	{Prefix: "o3", CompletionTokens: true, Fixed: sampling},
	{Prefix: "o4", CompletionTokens: true, Fixed: sampling},
	{Prefix: "gpt-5-chat", CompletionTokens: true},
	{Prefix: "gpt-5.", CompletionTokens: true, Fixed: sampling, FreeWithoutReasoning: true},
	{Prefix: "gpt-5", CompletionTokens: true, Fixed: sampling},
	{Prefix: "gpt-6", CompletionTokens: true, Fixed: sampling},
	{Prefix: "gpt-6.", CompletionTokens: true, Fixed: sampling},
}

var xaiReasoning = []string{"stop", "presence_penalty", "frequency_penalty"}

// Rows is the table of the providers known without configuration.
func Rows() []Row {
	rows := []Row{
		{Name: "openai", BaseURL: "https://api.openai.com/v1", KeyEnv: []string{"OPENAI_API_KEY"},
			BaseEnv: []string{"OPENAI_BASE_URL", "OPENAI_API_BASE"}, Organization: true, Models: openAIModels},
		{Name: "custom_openai", KeyEnv: []string{"OPENAI_API_KEY"}, KeyOptional: true, Organization: true},
		{Name: "openai_like", KeyEnv: []string{"OPENAI_LIKE_API_KEY"}, BaseEnv: []string{"OPENAI_LIKE_API_BASE"}, KeyOptional: true},
		{Name: "hosted_vllm", KeyEnv: []string{"HOSTED_VLLM_API_KEY"}, BaseEnv: []string{"HOSTED_VLLM_API_BASE"}, KeyOptional: true},
		{Name: "litellm_proxy", KeyEnv: []string{"LITELLM_PROXY_API_KEY"}, BaseEnv: []string{"LITELLM_PROXY_API_BASE"}, KeyOptional: true},
		{Name: "openrouter", BaseURL: "https://openrouter.ai/api/v1", KeyEnv: []string{"OPENROUTER_API_KEY", "OR_API_KEY"},
			BaseEnv: []string{"OPENROUTER_API_BASE"}, Usage: UsageInclude, FloatOnly: true,
			Headers:   [][2]string{{"X-Title", "Tollgate"}},
			HeaderEnv: [][2]string{{"HTTP-Referer", "OR_SITE_URL"}, {"X-Title", "OR_APP_NAME"}}},
		{Name: "groq", BaseURL: "https://api.groq.com/openai/v1", KeyEnv: []string{"GROQ_API_KEY"}, BaseEnv: []string{"GROQ_API_BASE"},
			Strip: hints, Unsupported: []string{"logprobs", "top_logprobs", "logit_bias", "n"}, NoNames: true, NoEmbedding: true, NoCompletion: true},
		{Name: "deepseek", BaseURL: "https://api.deepseek.com/beta", KeyEnv: []string{"DEEPSEEK_API_KEY"}, BaseEnv: []string{"DEEPSEEK_API_BASE"},
			Strip: hints, Rename: oldLimit, FlattenLists: true, NoEmbedding: true},
		{Name: "mistral", BaseURL: "https://api.mistral.ai/v1", KeyEnv: []string{"MISTRAL_API_KEY"}, BaseEnv: []string{"MISTRAL_API_BASE"},
			Rename:      map[string]string{"seed": "random_seed", "max_completion_tokens": "max_tokens"},
			Strip:       append([]string{"user", "stream_options", "verbosity"}, without(hints, "prompt_cache_key")...),
			Unsupported: []string{"logprobs", "top_logprobs", "logit_bias"}, Usage: UsageAlways,
			NoNames: true, ShortToolIDs: true, RequiredAny: true, PartLists: true, FloatOnly: true, NoCompletion: true},
		{Name: "codestral", BaseURL: "https://codestral.mistral.ai/v1", KeyEnv: []string{"CODESTRAL_API_KEY"}, BaseEnv: []string{"CODESTRAL_API_BASE"},
			Rename: map[string]string{"seed": "random_seed", "max_completion_tokens": "max_tokens"},
			Strip:  append([]string{"user", "stream_options"}, hints...), Usage: UsageAlways,
			NoNames: true, ShortToolIDs: true, RequiredAny: true, PartLists: true, NoEmbedding: true, NoCompletion: true},
		{Name: "xai", BaseURL: "https://api.x.ai/v1", KeyEnv: []string{"XAI_API_KEY"}, BaseEnv: []string{"XAI_API_BASE"}, Strip: hints, NoNames: true,
			Models: []ModelRule{{Prefix: "grok-3-mini", Strip: xaiReasoning}, {Prefix: "grok-4", Strip: xaiReasoning},
				{Prefix: "grok-5", Strip: xaiReasoning}, {Prefix: "grok-code", Strip: xaiReasoning}}, NoEmbedding: true},
		{Name: "together_ai", BaseURL: "https://api.together.xyz/v1",
			KeyEnv:  []string{"TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_TOKEN"},
			BaseEnv: []string{"TOGETHER_AI_API_BASE"}, Strip: hints, Rename: oldLimit, FloatOnly: true},
		{Name: "fireworks_ai", BaseURL: "https://api.fireworks.ai/inference/v1",
			KeyEnv:  []string{"FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN"},
			BaseEnv: []string{"FIREWORKS_API_BASE"}, ModelPrefix: "accounts/fireworks/models/", Strip: hints, Rename: oldLimit, FloatOnly: true},
		{Name: "perplexity", BaseURL: "https://api.perplexity.ai", KeyEnv: []string{"PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"},
			BaseEnv: []string{"PERPLEXITY_API_BASE"}, Strip: hints, Rename: oldLimit, NoCompletion: true, NoEmbedding: true},
		{Name: "lm_studio", BaseURL: "http://localhost:1234/v1", KeyEnv: []string{"LM_STUDIO_API_KEY"}, BaseEnv: []string{"LM_STUDIO_API_BASE"},
			KeyOptional: true, Rename: oldLimit, FloatOnly: true},
		{Name: "databricks", KeyEnv: []string{"DATABRICKS_API_KEY"}, BaseEnv: []string{"DATABRICKS_API_BASE"}, Strip: hints, Rename: oldLimit, PartLists: true, FloatOnly: true},
		{Name: "moonshot", BaseURL: "https://api.moonshot.ai/v1", KeyEnv: []string{"MOONSHOT_API_KEY"}, BaseEnv: []string{"MOONSHOT_API_BASE"},
			Strip: hints, Rename: oldLimit, FlattenLists: true, NoRequired: true, FloatOnly: true},
		{Name: "volcengine", BaseURL: "https://ark.cn-beijing.volces.com/api/v3", KeyEnv: []string{"VOLCENGINE_API_KEY", "ARK_API_KEY"},
			BaseEnv: []string{"VOLCENGINE_API_BASE"}, Strip: hints, Rename: oldLimit},
		{Name: "huggingface", BaseURL: "https://router.huggingface.co/v1", KeyEnv: []string{"HF_TOKEN", "HUGGINGFACE_API_KEY"},
			BaseEnv: []string{"HF_API_BASE", "HUGGINGFACE_API_BASE"}, ModelRouted: true, Strip: hints, Rename: oldLimit, FloatOnly: true},
		{Name: "jina_ai", BaseURL: "https://api.jina.ai/v1", KeyEnv: []string{"JINA_AI_API_KEY", "JINA_AI_TOKEN"}, BaseEnv: []string{"JINA_AI_API_BASE"},
			NoChat: true, NoCompletion: true, FloatOnly: true, Strip: []string{"encoding_format", "user"}},
		{Name: "voyage", BaseURL: "https://api.voyageai.com/v1", KeyEnv: []string{"VOYAGE_API_KEY"}, BaseEnv: []string{"VOYAGE_API_BASE"},
			NoChat: true, NoCompletion: true, Rename: map[string]string{"dimensions": "output_dimension"}, FloatOnly: true, Strip: []string{"encoding_format", "user"}},
		{Name: "infinity", KeyEnv: []string{"INFINITY_API_KEY"}, BaseEnv: []string{"INFINITY_API_BASE"}, KeyOptional: true, NoChat: true, NoCompletion: true, FloatOnly: true},
	}
	for _, r := range [...][3]string{
		{"nvidia_nim", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM"},
		{"sambanova", "https://api.sambanova.ai/v1", "SAMBANOVA"},
		{"deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA"},
		{"dashscope", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE"},
		{"zai", "https://api.z.ai/api/paas/v4", "ZAI"},
		{"github", "https://models.inference.ai.azure.com", "GITHUB"},
		{"novita", "https://api.novita.ai/v3/openai", "NOVITA"},
		{"nebius", "https://api.studio.nebius.ai/v1", "NEBIUS"},
		{"meta_llama", "https://api.llama.com/compat/v1", "LLAMA"},
		{"ai21", "https://api.ai21.com/studio/v1", "AI21"},
		{"ai21_chat", "https://api.ai21.com/studio/v1", "AI21"},
		{"hyperbolic", "https://api.hyperbolic.xyz/v1", "HYPERBOLIC"},
		{"lambda_ai", "https://api.lambda.ai/v1", "LAMBDA"},
		{"nscale", "https://inference.api.nscale.com/v1", "NSCALE"},
		{"friendliai", "https://api.friendli.ai/serverless/v1", "FRIENDLI"},
		{"v0", "https://api.v0.dev/v1", "V0"},
		{"wandb", "https://api.inference.wandb.ai/v1", "WANDB"},
		{"vercel_ai_gateway", "https://ai-gateway.vercel.sh/v1", "VERCEL_AI_GATEWAY"},
		{"poe", "https://api.poe.com/v1", "POE"},
		{"chutes", "https://llm.chutes.ai/v1", "CHUTES"},
		{"veniceai", "https://api.venice.ai/api/v1", "VENICEAI"},
		{"scaleway", "https://api.scaleway.ai/v1", "SCALEWAY"},
	} {
		rows = append(rows, Row{Name: r[0], BaseURL: r[1], KeyEnv: []string{r[2] + "_API_KEY"}, BaseEnv: []string{r[2] + "_API_BASE"},
			Strip: hints, Rename: oldLimit, FloatOnly: true})
	}
	rows = append(rows, Row{Name: "cerebras", BaseURL: "https://api.cerebras.ai/v1", KeyEnv: []string{"CEREBRAS_API_KEY"},
		BaseEnv: []string{"CEREBRAS_API_BASE"}, Strip: hints, NoEmbedding: true})
	for _, name := range [...]string{"ollama", "ollama_chat"} {
		rows = append(rows, Row{Name: name, BaseURL: "http://localhost:11434", BasePath: "/v1", KeyEnv: []string{"OLLAMA_API_KEY"},
			BaseEnv: []string{"OLLAMA_API_BASE"}, KeyOptional: true, Rename: oldLimit, FloatOnly: true})
	}
	for _, r := range [...][2]string{{"llamafile", "LLAMAFILE"}, {"xinference", "XINFERENCE"}, {"docker_model_runner", "DOCKER_MODEL_RUNNER"},
		{"lemonade", "LEMONADE"}, {"oobabooga", "OOBABOOGA"}} {
		rows = append(rows, Row{Name: r[0], KeyEnv: []string{r[1] + "_API_KEY"}, BaseEnv: []string{r[1] + "_API_BASE"},
			KeyOptional: true, Rename: oldLimit, FloatOnly: true})
	}
	return rows
}

func without(list []string, name string) []string {
	out := make([]string, 0, len(list))
	for _, v := range list {
		if v != name {
			out = append(out, v)
		}
	}
	return out
}
