// A worker whose peers send what they like: frames of any size and content, twice, late, of another fragment,
// of sequences that nobody asked for, and goodbyes. Whatever comes, an operation ends well or with a named
// error.
#include <stdexcept>

#include "comm/backend/threads/thread_transport.h"
#include "comm/collectives/chunks.h"
#include "comm/collectives/frame.h"
#include "comm/mean.h"
#include "tests/fuzz/input.h"

namespace thinwire::fuzz {
namespace {

using comm::Buffer;
using comm::Leg;

constexpr int kWorkers = 3;
constexpr std::uint64_t kOperations = 3;
constexpr double kTimeoutSeconds = 1e6;  // deadlines are not what is tested

// The fragment that all agree on as operation `id`.
struct Fragment {
  Fragment(std::uint64_t id, const quant::CodecOptions& options)
      : codec(quant::make_codec(options)), num_values(id * 130) {
    spec = {.step = 60 + id, .fragment = static_cast<std::uint32_t>(id), .seed = 1};
    spec.leg = id % 2 == 0 ? Leg::kGather : Leg::kReduce;
  }
  // In the frame that `worker` should send to rank 0.
  std::size_t values_from(int worker, unsigned exchange) const {
    if (spec.leg == Leg::kGather) return num_values;
    return comm::chunk_of(exchange == 0 ? 0 : worker, kWorkers, num_values, codec->block()).num_values;
  }

  std::shared_ptr<const quant::Codec> codec;
  std::size_t num_values;
  comm::MeanSpec spec;
};

// A frame as `worker` should send it, but of num_values values and with the input's payload.
Buffer frame_of(const Fragment& fragment, int worker, unsigned exchange, std::size_t num_values,
                Input& input) {
  Buffer frame(quant::kWireHeaderBytes);
  const Buffer payload = input.take_bytes(fragment.codec->encoded_bytes(num_values));
  frame.insert(frame.end(), payload.begin(), payload.end());
  comm::seal_frame(
      comm::frame_info(fragment.spec, *fragment.codec, num_values, {.leg = exchange, .worker = worker}),
      frame);
  return frame;
}

class HostilePeers {
 public:
  HostilePeers(std::shared_ptr<comm::ThreadWorld> world, const quant::CodecOptions& options)
      : world_(std::move(world)), options_(options) {}

  // One letter: who, which operation and exchange it names, what it holds, and how that is damaged.
  void send(Input& input) {
    comm::ThreadWorld::Letter letter;
    letter.from = 1 + static_cast<int>(input.take<std::uint8_t>() % (kWorkers - 1));
    const auto kind = input.take<std::uint8_t>();
    const std::uint64_t id = input.take<std::uint8_t>() % kOperations;
    const unsigned exchange = kind / 4 % 2;
    const Fragment fragment(id, options_);
    const std::size_t expected = fragment.values_from(letter.from, exchange);
    const std::size_t num_values = kind % 2 == 0 ? expected : input.take_below(400);
    letter.data = frame_of(fragment, letter.from, exchange, num_values, input);
    letter.sequence = comm::exchange_sequence(id, exchange * (comm::kExchangesPerOperation / 2));
    damage(kind, letter, input);
    if (kind == 0xff) letter = {.from = letter.from, .last = true, .reason = "goodbye"};
    world_->put(0, std::move(letter));
  }

 private:
  static void damage(std::uint8_t kind, comm::ThreadWorld::Letter& letter, Input& input) {
    const std::size_t at = input.take<std::uint16_t>() % letter.data.size();
    if (kind / 16 == 1) letter.data.resize(at);
    if (kind / 16 == 2) letter.data[at] ^= std::byte{1};
    if (kind / 16 == 3) letter.data.resize(letter.data.size() + at);
    if (kind / 16 == 4) letter.sequence = input.take<std::uint64_t>();
    if (kind / 16 == 5) letter.traffic = comm::Traffic::kControl;
  }

  const std::shared_ptr<comm::ThreadWorld> world_;
  const quant::CodecOptions options_;
};

// Rank 0, which does its part of every operation.
class HonestWorker {
 public:
  HonestWorker(const std::shared_ptr<comm::ThreadWorld>& world, const quant::CodecOptions& options)
      : communicator_(comm::make_thread_transport(world, 0), kTimeoutSeconds) {
    for (std::uint64_t id = 0; id < kOperations; ++id) {
      const Fragment fragment(id, options);
      const Buffer payload(fragment.codec->encoded_bytes(fragment.num_values));
      means_.push_back(comm::CodedMean::make(fragment.spec, fragment.codec, fragment.num_values, payload));
      values_.emplace_back(fragment.num_values);
    }
  }

  // Throws CommError, after which nothing may be asked of it but to break.
  void advance() {
    for (std::uint64_t id = 0; id < kOperations; ++id) {
      if (!means_[id] || !means_[id]->advance(communicator_, id)) continue;
      means_[id]->decode_mean(values_[id]);
      require(means_[id]->state_digests().size() == kWorkers, "there is a digest of every worker");
      means_[id].reset();
    }
  }

  void expect_broken(const comm::CommError& error) {
    communicator_.fail(error);
    require(std::string(error.what()).starts_with('['), "an error begins with what failed");
    try {
      communicator_.exchange({.sequence = 99, .outgoing = {{}, {}, {}}});
      require(false, "a broken communicator stays broken");
    } catch (const comm::CommError&) {
    }
  }

 private:
  std::vector<std::shared_ptr<comm::CodedMean>> means_;  // null once done
  std::vector<std::vector<float>> values_;
  comm::Communicator communicator_;
};

}  // namespace

// Two peers do their part of three operations: as they should, and damaged in each way from the third letter
// on.
std::vector<std::string> seeds() {
  std::vector<std::string> all;
  for (const std::uint8_t kind : {0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x01, 0xff}) {
    Seed seed;
    seed.put(std::uint8_t{4});  // int8
    int letters = 0;
    for (const std::uint8_t operation : {0, 2, 1, 1}) {
      for (const std::uint8_t from : {0, 1}) {
        const auto exchange = static_cast<std::uint8_t>(letters >= 6 ? 4 : 0);
        seed.put(from).put(static_cast<std::uint8_t>((letters >= 2 ? kind : 0) + exchange)).put(operation);
        const quant::CodecOptions options{.name = "int8", .block = 64};
        const Fragment fragment(operation, options);
        seed.put_bytes(Buffer(fragment.codec->encoded_bytes(fragment.values_from(1 + from, exchange / 4)),
                              std::byte{0x3c}));
        seed.put(std::uint16_t{70});
        ++letters;
      }
    }
    all.push_back(seed.text());
  }
  return all;
}

}  // namespace thinwire::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinwire;
  using namespace thinwire::fuzz;
  Input input(data, size);
  static const std::vector<std::string> names = quant::codec_names();
  const quant::CodecOptions options{.name = names[input.take<std::uint8_t>() % names.size()], .block = 64};
  try {
    quant::make_codec(options);
  } catch (const std::invalid_argument&) {  // a format may refuse this block
    return 0;
  }
  const auto world = std::make_shared<comm::ThreadWorld>(kWorkers);
  HostilePeers peers(world, options);
  HonestWorker worker(world, options);
  try {
    while (!input.rest().empty()) {
      peers.send(input);
      worker.advance();
    }
  } catch (const comm::CommError& error) {
    worker.expect_broken(error);
  }
  return 0;
}
