// How fast one worker trains here: forward pass, backward pass and AdamW step on random tokens, without data,
// outer loop and logs around them. launch/command/peers/torch_train.py does the same in Python.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/options/model_options.h"

namespace thinwire::trainer {

struct TrainBench {
  ModelOptions model;           // vocab must be set
  std::int64_t batch = 8;       // sequences
  std::int64_t sequence = 128;  // tokens, at most the model's context
  int threads = 1;
  int repetitions = 5;      // after one that is not counted
  std::int64_t steps = 10;  // of each repetition
};

// Tokens per second of each repetition. Sets the process's number of compute threads.
std::vector<double> measure_training(const TrainBench& bench);

}  // namespace thinwire::trainer
