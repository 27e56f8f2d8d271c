// [inner]: a worker's own steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace thinwire::trainer {

struct InnerOptions {
  std::string optimizer = "adamw";  // adamw, muon, sgd
  double lr = 6e-4;
  std::vector<double> betas = {0.9, 0.95};  // adamw; sgd takes the first as momentum
  double momentum = 0.95;                   // muon: of the matrices; the rest is adamw's
  double weight_decay = 0.1;
  std::int64_t warmup = 50;         // steps
  std::string schedule = "cosine";  // cosine, constant
  double final_lr = 0.1;            // share of lr at the last step
  double clip = 1.0;                // gradient norm; 0: off
  std::int64_t skip_nonfinite = 0;  // steps in a row whose loss or gradient may be no number; 0: an error
  std::int64_t steps = 600;
  std::int64_t batch = 8;             // sequences per worker and step
  std::int64_t accumulate = 1;        // micro-batches per step; divides batch
  std::string precision = "float32";  // float32, bfloat16
};

}  // namespace thinwire::trainer
