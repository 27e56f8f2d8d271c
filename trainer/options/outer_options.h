// [outer]: how workers keep one model.
#pragma once

#include <cstdint>
#include <string>

namespace thinwire::trainer {

struct OuterOptions {
  std::string method = "streaming_diloco";  // none, ddp, diloco, streaming_diloco, eager_diloco
  std::int64_t sync_every = 30;             // H, inner steps between two syncs of one parameter
  std::int64_t fragments = 4;               // of blocks; embeddings, head and final norm form one more
  std::string layout = "strided";           // strided, sequential
  std::int64_t overlap = 2;                 // tau, steps between sending a fragment and applying its result
  double alpha = 0.5;                       // weight of the local parameters at the merge
  double lr = 0.7;
  double momentum = 0.9;
  std::string codec = "e3m0";
  std::string embeddings_codec;      // of the fragment of embeddings, head and final norm; empty: codec
  std::int64_t block = 256;          // values per scale
  std::int64_t k = 64;               // topk: values kept of every chunk of 4096
  bool rotate = false;               // Hadamard rotation of each block before it is coded
  std::string rounding = "nearest";  // nearest, stochastic
  bool error_feedback = true;
  double decay = 1.0;        // of the error-feedback residual
  std::string leg = "auto";  // auto, gather, reduce
  bool final_sync = true;    // what has drifted by the last step is synced once more, without overlap
};

}  // namespace thinwire::trainer
