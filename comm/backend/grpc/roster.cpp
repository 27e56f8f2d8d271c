#include "comm/backend/grpc/roster.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>
#include <utility>

namespace thinwire::comm {

namespace {

using Kind = Refusal::Kind;

bool is_word(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("._:-[]@").find(static_cast<char>(c)) != std::string::npos;
  });
}

void check_word(const char* field, const std::string& text, std::size_t limit) {
  if (!text.empty() && text.size() <= limit && is_word(text)) return;
  throw Refusal(Kind::kMalformed,
                fmt::format("{}: expected 1 to {} letters, digits and ._:-[]@, found {} bytes", field, limit,
                            text.size()));
}

// The first line in which two configs differ.
std::string difference(const std::string& expected, const std::string& found) {
  std::istringstream a(expected), b(found);
  std::string a_line, b_line;
  while (a || b) {
    if (!std::getline(a, a_line)) a_line = "nothing";
    if (!std::getline(b, b_line)) b_line = "nothing";
    if (a_line != b_line) return fmt::format("; expected `{}`, found `{}`", a_line, b_line);
  }
  return "";
}

}  // namespace

bool equal_in_constant_time(const std::string& given, const std::string& expected) {
  volatile unsigned char difference = given.size() == expected.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const char other = expected.empty() ? '\0' : expected[i % expected.size()];
    difference = difference | static_cast<unsigned char>(given[i] ^ other);
  }
  return difference == 0;
}

Roster::Roster(int workers, std::string token) : workers_(workers), token_(std::move(token)) {
  if (workers < 1 || workers > kMaxWorkers) {
    throw std::invalid_argument(
        fmt::format("workers: expected 1 to {} in a world, found {}", kMaxWorkers, workers));
  }
}

Roster::Id Roster::join(JoinRequest request) {
  check_form(request);
  if (!token_.empty() && !equal_in_constant_time(request.token, token_)) {
    throw Refusal(Kind::kToken,
                  fmt::format("join token of {}: expected the coordinator's, found {}; give both "
                              "the same --token-file",
                              request.name, request.token.empty() ? "none" : "another"));
  }
  check_free(request);
  if (!present_.empty()) check_equal(request);
  request.token.clear();
  const Id id = next_id_++;
  present_.emplace(id, std::move(request));
  if (static_cast<int>(present_.size()) == workers_) place();
  return id;
}

void Roster::check_form(const JoinRequest& request) const {
  if (request.protocol != kProtocol) {
    throw Refusal(Kind::kMalformed,
                  fmt::format("protocol: expected {}, found {}; run the same release on all machines",
                              kProtocol, request.protocol));
  }
  check_word("name", request.name, kMaxNameBytes);
  check_word("address", request.address, kMaxAddressBytes);
  check_word("config_digest", request.config_digest, kMaxDigestBytes);
  check_word("start_digest", request.start_digest, kMaxDigestBytes);
  if (request.config.size() > kMaxConfigBytes || request.token.size() > kMaxTokenBytes) {
    throw Refusal(Kind::kMalformed,
                  fmt::format("join: expected a config of at most {} bytes and a token of at "
                              "most {}, found {} and {}",
                              kMaxConfigBytes, kMaxTokenBytes, request.config.size(), request.token.size()));
  }
  if (request.rank && (*request.rank < 0 || *request.rank >= workers_)) {
    throw Refusal(Kind::kMalformed, fmt::format("rank of {}: expected 0 to {}, found {}", request.name,
                                                workers_ - 1, *request.rank));
  }
}

void Roster::check_free(const JoinRequest& request) const {
  if (placed_) {
    throw Refusal(Kind::kFull,
                  fmt::format("{} came late: this world of {} is complete; start a new coordinator "
                              "to go on from a checkpoint",
                              request.name, workers_));
  }
  for (const auto& [id, other] : present_) {
    if (other.name == request.name) {
      throw Refusal(Kind::kTaken,
                    fmt::format("name {}: expected one of its own for each worker, found it taken by "
                                "the worker at {}",
                                request.name, other.address));
    }
    if (request.rank && other.rank == request.rank) {
      throw Refusal(Kind::kTaken, fmt::format("rank {} of {}: expected a free one, found it taken by {}",
                                              *request.rank, request.name, other.name));
    }
  }
}

// The first to come sets the measure.
void Roster::check_equal(const JoinRequest& request) const {
  const JoinRequest& first = present_.begin()->second;
  if (request.config_digest != first.config_digest) {
    throw Refusal(
        Kind::kDiffers,
        fmt::format("config of {}: expected digest {} as {} has, found {}{}; start all with one config",
                    request.name, first.config_digest, first.name, request.config_digest,
                    difference(first.config, request.config)));
  }
  if (request.start_digest != first.start_digest) {
    throw Refusal(
        Kind::kDiffers,
        fmt::format("start of {}: expected digest {} as {} has, found {}; start all workers alike (train "
                    "or resume), from the same release and files",
                    request.name, first.start_digest, first.name, request.start_digest));
  }
}

void Roster::place() {
  std::vector<bool> taken(workers_);
  std::vector<Id> others;
  for (const auto& [id, request] : present_) {
    if (request.rank) {
      ranks_[id] = *request.rank;
      taken[*request.rank] = true;
    } else {
      others.push_back(id);
    }
  }
  std::sort(others.begin(), others.end(),
            [&](Id a, Id b) { return present_.at(a).name < present_.at(b).name; });
  for (const Id id : others) {
    const auto free = std::find(taken.begin(), taken.end(), false);
    ranks_[id] = static_cast<int>(free - taken.begin());
    *free = true;
  }
  members_.resize(workers_);
  for (const auto& [id, rank] : ranks_) {
    members_[rank] = {.rank = rank, .name = present_.at(id).name, .address = present_.at(id).address};
  }
  placed_ = true;
}

void Roster::leave(Id id, bool finished) {
  if (present_.erase(id) > 0 && placed_ && finished) ++num_finished_;
}

std::string Roster::attendance() const {
  std::string names;
  for (const auto& [id, request] : present_) names += (names.empty() ? "" : ", ") + request.name;
  std::string asked;
  for (const auto& [id, request] : present_) {
    if (request.rank)
      asked += fmt::format("{}{}", asked.empty() ? "; ranks asked for: " : ", ", *request.rank);
  }
  return fmt::format("{} of {} workers came{}{}{}{}", present_.size(), workers_, names.empty() ? "" : " (",
                     names, names.empty() ? "" : ")", asked);
}

}  // namespace thinwire::comm
