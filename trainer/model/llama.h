// A LLaMA-style decoder (Touvron et al. 2023, 2302.13971): RMSNorm before each part, rotary positions
// (Su et al. 2021, 2104.09864), grouped-query attention (Ainslie et al. 2023, 2305.13245), SwiGLU
// (Shazeer 2020, 2002.05202), no biases.
//
// Parameters: embedding.weight [vocab, width]; blocks.N.attention_norm.weight [width];
// blocks.N.attention.{q,o}.weight [width, width], .{k,v}.weight [kv_heads * D, width];
// blocks.N.mlp_norm.weight [width]; blocks.N.mlp.{gate,up}.weight [mlp_width, width], .down.weight
// [width, mlp_width]; norm.weight [width]; head.weight [vocab, width] unless tied. D = width / heads.
//
// Rotary positions turn neighbours (2i, 2i+1) of each head, as in the authors' code, llama2.c and GGUF. Files
// in Hugging Face's layout pair i with i + D/2: their rows of q and k have to be permuted.
#pragma once

#include <memory>

#include "trainer/model/language_model.h"
#include "trainer/model/model_layers.h"

namespace thinwire::trainer {

inline constexpr double kNormEpsilon = 1e-5;
inline constexpr double kRotaryBase = 10000;

// Weights are drawn from N(0, 0.02^2), those that write into the residual stream (attention.o, mlp.down) with
// the deviation divided by sqrt(2 layers); each from a stream of (seed, parameter name). Parameters other
// than
// ".weight" that a layer brings are its own to set.
// Throws std::invalid_argument that names the size that does not fit.
std::shared_ptr<LanguageModel> make_llama(const ModelOptions& options, const quant::LinearFactory& linear,
                                          std::uint64_t seed);

// Of trainer/model/model_layers.h.
ModelOptions settled_llama_sizes(const ModelOptions& options);
std::vector<LayerShape> llama_layers(const ModelOptions& options);

}  // namespace thinwire::trainer
