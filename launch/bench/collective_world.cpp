#include "launch/bench/collective_world.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "comm/backend/mpi/mpi_allreduce.h"
#include "comm/mean.h"
#include "launch/bench/repetitions.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

// So many operations make a repetition that it is no shorter than a barrier is uneven.
int operations_of(std::size_t bytes) {
  return static_cast<int>(std::clamp<std::size_t>((std::size_t{4} << 20) / bytes, 1, 200));
}

// As gradients are: normal, small.
std::vector<float> make_values(std::size_t n, int rank) {
  std::vector<float> values(n);
  std::mt19937 generator(1 + rank);
  std::normal_distribution<float> normal(0, 1e-3f);
  for (float& value : values) value = normal(generator);
  return values;
}

// What a step of `ddp` does with its gradient: encode, exchange, decode, in place.
class OurMean {
 public:
  OurMean(comm::ProgressEngine& engine, const CollectiveBench& bench, const std::string& codec,
          std::vector<float>& values)
      : engine_(engine),
        codec_(quant::make_codec({.name = codec, .block = bench.block})),
        leg_(comm::choose_leg(bench.leg, engine.size(), *codec_, values.size())),
        values_(values) {}

  void run() {
    const auto mean = comm::CodedMean::make({.step = step_++, .leg = leg_}, codec_, std::span(values_),
                                            comm::encode_values(codec_, values_, 0));
    engine_.submit(mean).wait();
  }

  std::string leg() const { return leg_ == comm::Leg::kGather ? "gather" : "reduce"; }

 private:
  comm::ProgressEngine& engine_;
  const std::shared_ptr<const quant::Codec> codec_;
  const comm::Leg leg_;
  std::vector<float>& values_;
  std::uint64_t step_ = 0;
};

using Contender = std::function<double()>;

Contender ours(comm::ProgressEngine& engine, const std::shared_ptr<OurMean>& mean, int count) {
  return [&engine, mean, count] {
    engine.barrier();
    const auto start = steady_clock::now();
    for (int i = 0; i < count; ++i) mean->run();
    return seconds_since(start) / count;
  };
}

Contender mpi(comm::ProgressEngine& engine, std::vector<float>& values, int count) {
  return [&engine, &values, count] {
    double seconds = 0;
    for (int i = 0; i < count; ++i) {
      const auto all_reduce = comm::MpiAllreduce::make(values);
      engine.submit(all_reduce).wait();
      seconds += all_reduce->seconds();
    }
    return seconds / count;
  };
}

// Rank 0 measures, the others sleep at the barrier.
Contender other(comm::ProgressEngine& engine, const CollectivePeer* peer, std::size_t bytes, int count) {
  return [&engine, peer, bytes, count] {
    const double seconds = peer == nullptr ? 0 : peer->seconds(bytes, count);
    engine.barrier();
    return seconds;
  };
}

json row_of(const std::string& algorithm, const std::string& codec, int workers, std::size_t bytes,
            const Measured& figure) {
  const double share = 2.0 * (workers - 1) / workers;
  return {{"algorithm", algorithm},
          {"codec", codec},
          {"workers", workers},
          {"bytes", bytes},
          {"seconds", figure.median},
          {"spread", figure.spread},
          {"bus_gbytes_per_s", share * static_cast<double>(bytes) / figure.median / 1e9},
          {"peer", nullptr},
          {"peer_seconds", nullptr}};
}

}  // namespace

json measure_collectives(comm::ProgressEngine& engine, const std::string& backend,
                         const CollectiveBench& bench, const std::vector<CollectivePeer>& peers) {
  const comm::Buffer mine(1, static_cast<std::byte>(peers.size()));
  const auto num_peers = static_cast<std::size_t>(engine.gather(mine, 1, "peers")[0][0]);
  json rows = json::array();
  for (const std::size_t bytes : bench.bytes) {
    const int count = operations_of(bytes);
    // In place, every time: ours become equal at the first mean, MPI's grow.
    std::vector<float> values = make_values(bytes / sizeof(float), engine.rank());
    std::vector<float> sums = values;
    std::vector<Contender> contenders;
    std::vector<std::string> legs, others;
    for (const std::string& codec : bench.codecs) {
      const auto mean = std::make_shared<OurMean>(engine, bench, codec, values);
      contenders.push_back(ours(engine, mean, count));
      legs.push_back(mean->leg());
    }
    if (backend == "mpi") {
      contenders.push_back(mpi(engine, sums, count));
      others.push_back("Open MPI");
    }
    for (std::size_t i = 0; i < num_peers; ++i) {
      const CollectivePeer* peer = i < peers.size() ? &peers[i] : nullptr;
      contenders.push_back(other(engine, peer, bytes, count));
      others.push_back(peer == nullptr ? "" : peer->name);
    }
    const std::vector<Measured> figures = measure_in_turns(contenders, bench.repetitions);
    for (std::size_t c = 0; c < bench.codecs.size(); ++c) {
      json row = row_of(backend + "/" + legs[c], bench.codecs[c], engine.size(), bytes, figures[c]);
      if (others.empty()) rows.push_back(row);
      for (std::size_t p = 0; p < others.size(); ++p) {
        row["peer"] = others[p];
        row["peer_seconds"] = figures[bench.codecs.size() + p].median;
        rows.push_back(row);
      }
    }
  }
  return rows;
}

}  // namespace thinwire::launch
