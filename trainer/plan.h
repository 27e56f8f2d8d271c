// What a run will be, before its first step and without a model in memory: sizes, memory, traffic.
#pragma once

#include <cstdint>

#include "trainer/options/model_options.h"

namespace thinwire::trainer {

struct Options;

struct RunPlan {
  ModelOptions model;           // no zeros left; from is empty
  std::int64_t parameters = 0;  // of the model that trains, frozen ones too
  std::int64_t trainable = 0;
  std::int64_t tokens = 0;       // of all workers over the whole run
  std::int64_t commits = 0;      // outer steps, of all fragments; with ddp one a step
  std::uint64_t wire_bytes = 0;  // that worker 0 sends over the whole run; the others send about as much

  // Bytes of one worker, beside those that its process has before it is one. peak_bytes is an estimate,
  // within a factor of 2; held_bytes are there from the first step to the last, and gradient_bytes once in
  // every step.
  std::uint64_t peak_bytes = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t gradient_bytes = 0;
};

// What a process of a worker holds before it is one: LibTorch, mostly. About, and surely beside other such
// processes, which share the rest.
inline constexpr std::uint64_t kProcessBytes = std::uint64_t{140} << 20;
inline constexpr std::uint64_t kOwnProcessBytes = std::uint64_t{16} << 20;

// Of a run that starts at step 0. Reads the descriptions of the models at model.from and task.teacher and, if
// it is a file, data.tokenizer. A bpe that the run trains is taken to have data.vocab_size tokens; it may
// have fewer. Throws what a worker would throw for settings that fit no model, and std::runtime_error that
// names a path that is not there.
RunPlan plan_run(const Options& options, int workers);

}  // namespace thinwire::trainer
