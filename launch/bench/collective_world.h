// One world that measures its own means, and what it is compared with, in turns: what `bench collective`
// starts for every backend and number of workers.
#pragma once

#include <cstddef>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "comm/progress_engine.h"

namespace thinwire::launch {

struct CollectiveBench {
  std::vector<std::string> codecs = {"fp32", "int8"};
  std::vector<std::size_t> bytes = {std::size_t{1} << 10, std::size_t{1} << 20, std::size_t{16} << 20,
                                    std::size_t{64} << 20};  // of float32 values
  std::size_t block = 256;
  std::string leg = "auto";
  int repetitions = 7;
};

// Another program's all-reduce, or a limit. Called by one rank while the others wait.
struct CollectivePeer {
  std::string name;
  // Mean seconds of one of `count` all-reduces of float32 values of that many bytes.
  std::function<double(std::size_t bytes, int count)> seconds;
};

// Every rank calls it with the same options, rank 0 with the peers. Over MPI its own all-reduce is measured
// too. Rank 0 gets a list of rows, with the keys of `bench collective --json`; a row without peer is ours
// alone.
nlohmann::json measure_collectives(comm::ProgressEngine& engine, const std::string& backend,
                                   const CollectiveBench& bench, const std::vector<CollectivePeer>& peers);

}  // namespace thinwire::launch
