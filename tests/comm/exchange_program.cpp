// Times the mean over workers of one coded fragment, back to back, on whatever link the ranks of an mpirun,
// or the workers of a coordinator, stand behind. Checks every mean against the definition, and that all ranks
// hold the same bits.
//
//   exchange_program [--coordinator HOST:PORT ...] LINK SECONDS CODEC:VALUES ...
//                                                         LINK: our shaper's, mostly "unlimited"
//
// Rank 0 prints a JSON object a line for each CODEC:VALUES: seconds of one exchange (encode, travel, decode;
// two in flight, the slowest rank's mean), bytes that a rank sent for it, and the digest of the means.
#include <xxhash.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <deque>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "comm/backend/backend.h"
#include "comm/link.h"
#include "comm/mean.h"
#include "quant/kernel/outer_ops.h"

namespace thinwire {
namespace {

using comm::Buffer;
using comm::Clock;
using comm::CodedMean;
using comm::ProgressEngine;

constexpr std::uint64_t kSeed = 1;
constexpr std::size_t kInFlight = 2;

double seconds_since(Clock::time_point start) {
  return comm::seconds_of(Clock::now() - start);
}

std::vector<float> values_of(int rank, std::size_t num_values) {
  std::mt19937 generator(1000 + rank);
  std::normal_distribution<float> normal(0.0f, 0.01f);
  std::vector<float> values(num_values);
  for (float& value : values) value = normal(generator);
  return values;
}

// One size of fragment in one codec.
class Contest {
 public:
  Contest(ProgressEngine& engine, const std::string& codec, std::size_t num_values)
      : engine_(engine),
        codec_(quant::make_codec({.name = codec})),
        values_(values_of(engine.rank(), num_values)),
        mean_(num_values) {}

  // Seconds of each of `count` exchanges one after the other, two of them in flight.
  double run(std::size_t count) {
    engine_.barrier();
    const auto start = Clock::now();
    for (std::size_t i = 0; i < count; ++i) {
      if (in_flight_.size() == kInFlight) finish_oldest();
      submit();
    }
    while (!in_flight_.empty()) finish_oldest();
    return slowest(seconds_since(start)) / static_cast<double>(count);
  }

  // The same on all ranks, and the mean's by its definition; throws std::runtime_error otherwise.
  std::string checked_digest() {
    run(1);
    const std::string mine = digest_of(mean_);
    for (const Buffer& other : engine_.gather(std::as_bytes(std::span(mine)), 64, "digests")) {
      if (!std::ranges::equal(other, std::as_bytes(std::span(mine)))) {
        throw std::runtime_error("the ranks hold different means");
      }
    }
    if (digest_of(plain_mean()) != mine) throw std::runtime_error("the mean is not that of the definition");
    return mine;
  }

  std::uint64_t bytes() const {
    return comm::mean_wire_bytes(comm::Leg::kGather, engine_.size(), engine_.rank(), *codec_, values_.size());
  }

 private:
  struct Flight {
    std::shared_ptr<CodedMean> mean;
    comm::Ticket ticket;
  };

  Buffer payload_of(std::span<const float> values) const {
    Buffer payload(codec_->encoded_bytes(values.size()));
    codec_->encode(values, 0, payload);
    return payload;
  }

  void submit() {
    Flight flight;
    flight.mean =
        CodedMean::make({.step = ++step_, .seed = kSeed}, codec_, values_.size(), payload_of(values_));
    flight.ticket = engine_.submit(flight.mean);
    in_flight_.push_back(std::move(flight));
  }

  void finish_oldest() {
    in_flight_.front().ticket.wait();
    in_flight_.front().mean->decode_mean(mean_);
    in_flight_.pop_front();
  }

  double slowest(double mine) {
    for (const Buffer& other : engine_.gather(std::as_bytes(std::span(&mine, 1)), sizeof mine, "times")) {
      double seconds = 0;
      std::memcpy(&seconds, other.data(), sizeof seconds);
      mine = std::max(mine, seconds);
    }
    return mine;
  }

  std::vector<float> plain_mean() const {
    std::vector<float> mean(values_.size());
    for (int r = 0; r < engine_.size(); ++r) {
      const Buffer payload = payload_of(values_of(r, values_.size()));
      r == 0 ? codec_->decode(payload, mean) : codec_->decode_add(payload, mean);
    }
    quant::divide_in_place(mean, static_cast<float>(engine_.size()));
    return mean;
  }

  static std::string digest_of(const std::vector<float>& values) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx",
                  static_cast<unsigned long long>(XXH3_64bits(values.data(), values.size() * sizeof(float))));
    return text;
  }

  ProgressEngine& engine_;
  const std::shared_ptr<const quant::Codec> codec_;
  const std::vector<float> values_;
  std::vector<float> mean_;
  std::deque<Flight> in_flight_;
  std::uint64_t step_ = 0;
};

// As many exchanges as fill the time, at least four; all ranks decide alike, for they know the same times.
void measure(ProgressEngine& engine, const std::string& request, double seconds) {
  const std::size_t colon = request.find(':');
  const std::string codec = request.substr(0, colon);
  const std::size_t num_values = std::stoul(request.substr(colon + 1));
  Contest contest(engine, codec, num_values);
  const std::string digest = contest.checked_digest();
  const double one = contest.run(2);
  const auto count = std::max<std::size_t>(4, static_cast<std::size_t>(seconds / one));
  const double figure = contest.run(count);
  if (engine.rank() != 0) return;
  std::printf(
      "{\"codec\": \"%s\", \"values\": %zu, \"bytes\": %llu, \"exchanges\": %zu, \"seconds\": %.9f, "
      "\"digest\": "
      "\"%s\"}\n",
      codec.c_str(), num_values, static_cast<unsigned long long>(contest.bytes()), count, figure,
      digest.c_str());
  std::fflush(stdout);
}

struct Options {
  comm::BackendOptions backend{.name = "mpi", .timeout_s = 60};
  std::string link;
  double seconds = 0;
  std::vector<std::string> requests;
};

void run(const Options& options) {
  const comm::LinkSpec link = comm::parse_link(options.link);
  ProgressEngine engine([&] { return comm::shape(comm::connect(options.backend), link); });
  engine.start();
  for (const std::string& request : options.requests) measure(engine, request, options.seconds);
  engine.barrier();
  engine.stop();
}

}  // namespace
}  // namespace thinwire

int main(int argc, char** argv) {
  CLI::App app;
  thinwire::Options options;
  thinwire::comm::GrpcOptions& grpc = options.backend.grpc;
  auto* coordinator =
      app.add_option("--coordinator", grpc.coordinator, "Workers over gRPC find each other here");
  app.add_option("--listen", grpc.listen)->needs(coordinator);
  app.add_option("--tls", grpc.tls_dir)->needs(coordinator);
  app.add_option("--rank", grpc.rank)->needs(coordinator);
  app.add_option("link", options.link)->required();
  app.add_option("seconds", options.seconds)->required();
  app.add_option("requests", options.requests)->required();
  CLI11_PARSE(app, argc, argv);
  if (*coordinator) options.backend.name = "grpc";
  try {
    thinwire::run(options);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
