// Who is in a world: what a worker says of itself to join, and the places that the coordinator gives. The
// commit of the outer loop knows ranks only, and not who decided on them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/backend/grpc/limits.h"

namespace thinwire::comm {

struct JoinRequest {
  std::uint32_t protocol = kProtocol;
  std::string token;
  std::string name;     // unique; fixes the rank where none is asked for
  std::string address;  // HOST:PORT where peers reach the worker
  std::optional<int> rank;
  std::string config_digest;
  std::string start_digest;
  std::string config;  // lines; for messages that name the difference
};

struct Member {
  int rank = 0;
  std::string name;
  std::string address;
};

// A worker's place in a complete world.
struct Placement {
  int rank = 0;
  std::string world;            // a secret of the world's members
  std::vector<Member> members;  // by rank
};

}  // namespace thinwire::comm
