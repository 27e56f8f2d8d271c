// The limits of the grpc backend in one place. docs/protocol.md lists them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace thinwire::comm {

constexpr std::uint32_t kProtocol = 1;

// Messages between workers.
constexpr std::size_t kInlineBytes = 4096;                   // up to here a message travels whole
constexpr std::size_t kChunkBytes = std::size_t{128} << 10;  // one is under way per message
constexpr std::size_t kMaxFrameBytes = kChunkBytes + 4096;   // of any protobuf message
constexpr int kMaxMetadataBytes = 8192;
constexpr int kMaxStreams = 256;                                 // of one connection
constexpr std::size_t kMaxMemoryBytes = std::size_t{256} << 20;  // of gRPC's buffers in one server
constexpr std::size_t kMaxWaitingEvents = 4096;                  // from gRPC's threads, not yet polled

// Rendezvous.
constexpr int kMaxWorkers = 256;
constexpr std::size_t kMaxNameBytes = 64;
constexpr std::size_t kMaxAddressBytes = 128;
constexpr std::size_t kMaxDigestBytes = 64;
constexpr std::size_t kMaxConfigBytes = std::size_t{64} << 10;
constexpr std::size_t kMaxTokenBytes = 4096;
constexpr std::size_t kMaxReasonBytes = 2048;
constexpr std::size_t kWorldKeyBytes = 32;

// A connection, and a call, must have said who it is within this time.
constexpr std::chrono::seconds kGreetingTime{10};
// No run lasts longer; the deadline of calls that live as long as a world.
constexpr std::chrono::hours kLongestRun{24 * 60};
// A message gets twice the exchange's timeout, and its transmission at this rate on top.
constexpr double kSlowestBytesPerSecond = 8192;
// How long leaving waits for the last words to be heard.
constexpr std::chrono::seconds kFarewellTime{2};

// Connections that a server of a world of `workers` holds at once: two from each, for control and for data,
// and room for some that are refused.
constexpr std::size_t max_connections(int workers) {
  return 2 * static_cast<std::size_t>(workers) + 64;
}

}  // namespace thinwire::comm
