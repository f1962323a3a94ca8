// The traffic of one switch that aggregates, in ns-3: what the simulator's speed is compared with.
//
// Hosts hang on one node by a cable each. Of a job's hosts the last is its PS, which an aggregation without collisions
// leaves idle; the others, its workers, stand in a ring, and each sends to the next through the node in the middle. So
// a worker's up-link and down-link carry as many packets as in the aggregation (a gradient up, a result down), a packet
// makes two hops, and nothing is lost. Senders are clocked as ESA's are: a window to begin with, then a packet for each
// that arrives. That takes no events but the two that ns-3's cable makes per hop.
//
//   raw   PointToPointNetDevices with callbacks on them: no IP, no look-up, the node in the middle hands the packet on.
//         The least that ns-3 does for a packet on its model of a cable.
//   udp   what a user of ns-3 writes: the Internet stack with its defaults, global routing, UDP sockets.
//
// Prints one line of JSON. Exit status 2 and one line on stderr for arguments that make no sense.

#include <ns3/inet-socket-address.h>
#include <ns3/internet-stack-helper.h>
#include <ns3/ipv4-address-helper.h>
#include <ns3/ipv4-global-routing-helper.h>
#include <ns3/node-container.h>
#include <ns3/packet.h>
#include <ns3/point-to-point-helper.h>
#include <ns3/simulator.h>
#include <ns3/string.h>
#include <ns3/udp-socket-factory.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace ns3;

namespace {

constexpr uint32_t PPP_BYTES = 2, IP_UDP_BYTES = 28, MTU_BYTES = 1500;
constexpr uint16_t ETHERTYPE_IPV4 = 0x0800, UDP_PORT = 9000;

[[noreturn]] void Refuse(const std::string& why) {
    std::fprintf(stderr, "ns3_star: %s\n", why.c_str());
    std::exit(2);
}

class Arguments {
  public:
    Arguments(int count, char** words) {
        for (int i = 1; i < count; i += 2) {
            const std::string name = words[i];
            if (name != "--variant" && !m_numbers.count(name)) {
                Refuse(name + " is not known");
            }
            if (i + 1 == count) {
                Refuse(name + " lacks its value");
            }
            if (name == "--variant") {
                variant = words[i + 1];
            } else {
                Read(name, words[i + 1]);
            }
        }
        if (variant != "raw" && variant != "udp") {
            Refuse("--variant is " + variant + ", must be raw or udp");
        }
        if (Get("--hosts") % Get("--jobs") || Members() < 3) {
            const std::string hosts = std::to_string(Get("--hosts"));
            Refuse("--hosts is " + hosts + ", must be a multiple of --jobs, at least 3 per job");
        }
    }

    uint64_t Get(const char* name) const { return m_numbers.at(name).value; }
    uint32_t Members() const { return Get("--hosts") / Get("--jobs"); }

    std::string variant = "raw";

  private:
    struct Number {
        uint64_t value, least, most;
    };

    std::map<std::string, Number> m_numbers = {
        {"--hosts", {64, 3, 4096}},
        {"--jobs", {8, 1, 1024}},
        {"--packets-per-worker", {1000, 1, 1'000'000'000}},
        {"--size", {322, PPP_BYTES + IP_UDP_BYTES + 1, MTU_BYTES + PPP_BYTES}},  // bytes on the cable
        {"--rate", {100'000'000'000, 1'000'000, 1'000'000'000'000}},             // bit/s
        {"--delay", {1000, 0, 1'000'000'000}},                                   // ns
        {"--window", {128, 1, 1'000'000}},                                       // packets; also the length of queues
    };

    void Read(const std::string& name, std::string_view word) {
        auto& [value, least, most] = m_numbers.at(name);
        const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
        if (error != std::errc() || stop != word.data() + word.size() || value < least || value > most) {
            Refuse(name + " is " + std::string(word) + ", must be an integer in " + std::to_string(least) + ".." +
                   std::to_string(most));
        }
    }
};

// Packets, and their bytes, that have reached the end of a cable.
uint64_t g_hops = 0, g_bytes = 0;

void CountHop(Ptr<const Packet> packet) {
    ++g_hops;
    g_bytes += packet->GetSize();
}

// `hosts` and `centre` are the two ends of the cables, by host number.
struct Star {
    NodeContainer nodes, middle;
    NetDeviceContainer hosts, centre;

    explicit Star(const Arguments& arguments) {
        nodes.Create(arguments.Get("--hosts"));
        middle.Create(1);
        PointToPointHelper cable;
        cable.SetDeviceAttribute("DataRate", StringValue(std::to_string(arguments.Get("--rate")) + "bps"));
        cable.SetChannelAttribute("Delay", TimeValue(NanoSeconds(arguments.Get("--delay"))));
        cable.SetQueue("ns3::DropTailQueue", "MaxSize", StringValue(std::to_string(arguments.Get("--window")) + "p"));
        for (uint32_t host = 0; host < nodes.GetN(); ++host) {
            const NetDeviceContainer ends = cable.Install(nodes.Get(host), middle.Get(0));
            hosts.Add(ends.Get(0));
            centre.Add(ends.Get(1));
            for (uint32_t end = 0; end < 2; ++end) {
                ends.Get(end)->TraceConnectWithoutContext("PhyRxEnd", MakeCallback(&CountHop));
            }
        }
    }
};

// A worker sends a packet whenever one arrives, until it has none left.
class Worker {
  public:
    Worker(const Arguments& arguments, uint32_t headers)
        : m_payload(arguments.Get("--size") - headers), m_left(arguments.Get("--packets-per-worker")) {}
    virtual ~Worker() = default;

    void SendNext() {
        if (m_left) {
            --m_left;
            Send(Create<Packet>(m_payload));
        }
    }

  private:
    uint32_t m_payload;  // bytes
    uint64_t m_left;

    virtual void Send(Ptr<Packet> packet) = 0;
};

class RawWorker : public Worker {
  public:
    RawWorker(const Arguments& arguments, const Star& star, uint32_t host, uint32_t next)
        : Worker(arguments, PPP_BYTES), m_up(star.hosts.Get(host)), m_down(star.centre.Get(next)) {
        m_up->SetReceiveCallback(MakeCallback(&RawWorker::AtHost, this));
        star.centre.Get(host)->SetReceiveCallback(MakeCallback(&RawWorker::AtCentre, this));
    }

  private:
    Ptr<NetDevice> m_up, m_down;

    void Send(Ptr<Packet> packet) override { m_up->Send(packet, Address(), ETHERTYPE_IPV4); }

    bool AtHost(Ptr<NetDevice>, Ptr<const Packet>, uint16_t, const Address&) {
        SendNext();
        return true;
    }

    bool AtCentre(Ptr<NetDevice>, Ptr<const Packet> packet, uint16_t protocol, const Address&) {
        return m_down->Send(ConstCast<Packet>(packet), Address(), protocol);  // the device is done with it: no copy
    }
};

class UdpWorker : public Worker {
  public:
    UdpWorker(const Arguments& arguments, const Star& star, uint32_t host, Ipv4Address next)
        : Worker(arguments, PPP_BYTES + IP_UDP_BYTES),
          m_socket(Socket::CreateSocket(star.nodes.Get(host), UdpSocketFactory::GetTypeId())),
          m_next(InetSocketAddress(next, UDP_PORT)) {
        m_socket->Bind(InetSocketAddress(Ipv4Address::GetAny(), UDP_PORT));
        m_socket->SetRecvCallback(MakeCallback(&UdpWorker::Receive, this));
    }

  private:
    Ptr<Socket> m_socket;
    Address m_next;

    void Send(Ptr<Packet> packet) override { m_socket->SendTo(packet, 0, m_next); }

    void Receive(Ptr<Socket> socket) {
        while (socket->Recv()) {
            SendNext();
        }
    }
};

// The hosts' addresses, after the Internet stack is on all nodes.
std::vector<Ipv4Address> InstallInternet(const Star& star) {
    InternetStackHelper stack;
    stack.Install(star.nodes);
    stack.Install(star.middle);
    Ipv4AddressHelper addresses("10.0.0.0", "255.255.255.252");
    std::vector<Ipv4Address> hosts;
    for (uint32_t host = 0; host < star.nodes.GetN(); ++host) {
        const NetDeviceContainer ends(star.hosts.Get(host), star.centre.Get(host));
        hosts.push_back(addresses.Assign(ends).GetAddress(0));
        addresses.NewNetwork();
    }
    Ipv4GlobalRoutingHelper::PopulateRoutingTables();
    return hosts;
}

std::vector<std::unique_ptr<Worker>> MakeWorkers(const Arguments& arguments, const Star& star) {
    const bool raw = arguments.variant == "raw";
    const uint32_t members = arguments.Members(), workers = members - 1;
    const std::vector<Ipv4Address> addresses = raw ? std::vector<Ipv4Address>() : InstallInternet(star);
    std::vector<std::unique_ptr<Worker>> made;
    for (uint32_t host = 0; host < star.nodes.GetN(); ++host) {
        const uint32_t rank = host % members, next = host - rank + (rank + 1) % workers;
        if (rank == workers) {
            continue;  // the PS
        }
        if (raw) {
            made.push_back(std::make_unique<RawWorker>(arguments, star, host, next));
        } else {
            made.push_back(std::make_unique<UdpWorker>(arguments, star, host, addresses[next]));
        }
    }
    return made;
}

// The kernel's VmHWM; what getrusage reports is at least that of the process which started this one.
uint64_t PeakMemoryBytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.rfind("VmHWM:", 0) == 0) {
            return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
        }
    }
    return 0;
}

}  // namespace

int main(int count, char** words) {
    const Arguments arguments(count, words);
    const Star star(arguments);
    const auto workers = MakeWorkers(arguments, star);
    for (const auto& worker : workers) {
        for (uint64_t i = 0; i < arguments.Get("--window"); ++i) {
            Simulator::ScheduleNow(&Worker::SendNext, worker.get());
        }
    }
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t processor_start = std::clock();
    Simulator::Run();
    const double cpu_s = double(std::clock() - processor_start) / CLOCKS_PER_SEC;
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    std::printf("{\"variant\": \"%s\", \"workers\": %zu, \"packet_hops\": %ju, \"bytes\": %ju, \"wall_s\": %.6f, "
                "\"cpu_s\": %.6f, \"simulated_s\": %.9f, \"peak_memory_bytes\": %ju}\n",
                arguments.variant.c_str(), workers.size(), uintmax_t(g_hops), uintmax_t(g_bytes), wall.count(), cpu_s,
                Simulator::Now().GetSeconds(), uintmax_t(PeakMemoryBytes()));
    Simulator::Destroy();
    return 0;
}
